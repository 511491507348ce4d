// Prints, as JSON, what the npm package geotiff, which runs in browsers, reads of a file.
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [file, modules] = process.argv.slice(2);
const geotiff = createRequire(`${modules}/x.js`).resolve("geotiff");
const { fromFile } = await import(pathToFileURL(geotiff));
const tiff = await fromFile(file);
const levels = [];
let first = null;
for (let n = 0; n < (await tiff.getImageCount()); n++) {
  const image = await tiff.getImage(n);
  first ??= image;
  const [samples] = await image.readRasters();
  const digest = createHash("sha256").update(samples).digest("hex");
  levels.push([image.getWidth(), image.getHeight(), digest]);
}
const directory = first.fileDirectory;
const value = (name) => directory.getValue ? directory.getValue(name) : directory[name];
const lengths = ["XResolution", "YResolution"].map((name) => value(name));
const mpp = lengths.map(([numerator, denominator]) => (1e4 * denominator) / numerator);
console.log(JSON.stringify({ images: 1, mpp, levels }));
tiff.close();
