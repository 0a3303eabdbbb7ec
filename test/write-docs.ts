import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { channelDocuments, configDocuments } from "./documents.ts";

/* Writes the generated documents anew: npm run docs */
const root = resolve(import.meta.dirname, "../..");
for (const [path, text] of [...(await channelDocuments()), ...configDocuments()])
  writeFileSync(resolve(root, path), text);
