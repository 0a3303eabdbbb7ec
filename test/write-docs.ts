import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { channelDocuments, cliManual, configDocuments } from "./documents.ts";

/* Writes the generated documents anew: npm run docs */
const root = resolve(import.meta.dirname, "../..");
const documents = [...(await channelDocuments()), ...configDocuments(), ["docs/cli.md", cliManual()] as const];
for (const [path, text] of documents) writeFileSync(resolve(root, path), text);
