import java.security.MessageDigest;
import java.util.HexFormat;
import loci.common.DebugTools;
import loci.common.services.ServiceFactory;
import loci.formats.ImageReader;
import loci.formats.meta.IMetadata;
import loci.formats.services.OMEXMLService;

/** Prints, as JSON, what Bio-Formats reads of a file, as QuPath does. */
public class Levels {
  public static void main(String[] words) throws Exception {
    DebugTools.setRootLevel("ERROR");
    IMetadata facts = new ServiceFactory().getInstance(OMEXMLService.class).createOMEXMLMetadata();
    try (ImageReader reader = new ImageReader()) {
      reader.setFlattenedResolutions(false);
      reader.setMetadataStore(facts);
      reader.setId(words[0]);
      StringBuilder levels = new StringBuilder();
      for (int level = 0; level < reader.getResolutionCount(); level++) {
        reader.setResolution(level);
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(reader.openBytes(0));
        levels.append(level == 0 ? "" : ", ").append(String.format(
            "[%d, %d, \"%s\"]",
            reader.getSizeX(), reader.getSizeY(), HexFormat.of().formatHex(digest)));
      }
      System.out.printf(
          "{\"images\": %d, \"mpp\": [%s, %s], \"levels\": [%s]}%n",
          reader.getSeriesCount(),
          facts.getPixelsPhysicalSizeX(0).value(), facts.getPixelsPhysicalSizeY(0).value(),
          levels);
    }
  }
}
