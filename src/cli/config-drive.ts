import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { invalid } from "../core/fault.ts";
import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";

const ISO9660_AT = 0x8001;

/**
 * A config drive as the rack takes it: JSON text or a file of it ({meta_data, user_data, network_data}); a directory that holds
 * meta_data.json, user_data, network_data.json, at its top or in openstack/latest; an ISO 9660 image, gzipped or not.
 */
export async function readConfigDrive(argument: string): Promise<Json> {
  if (argument.trimStart().startsWith("{")) return parse(argument);
  const about = await stat(argument).catch(() => undefined);
  if (about === undefined) throw invalid("config-drive", `${argument} is neither JSON nor a file`);
  if (about.isDirectory()) return await fromDirectory(argument);
  const bytes = await readFile(argument);
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return bytes.toString("base64");
  if (bytes.subarray(ISO9660_AT, ISO9660_AT + 5).toString("latin1") === "CD001")
    return gzipSync(bytes).toString("base64");
  return parse(bytes.toString("utf8"));
}

function parse(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid("config-drive", `not JSON: ${error instanceof Error ? error.message : ""}`);
  }
  if (!isJsonObject(value))
    throw invalid("config-drive", "must be a JSON object with meta_data, user_data, network_data");
  return value;
}

async function fromDirectory(directory: string): Promise<JsonObject> {
  const read = async (name: string): Promise<string | undefined> => {
    for (const path of [join(directory, name), join(directory, "openstack", "latest", name)]) {
      const text = await readFile(path, "utf8").catch(() => undefined);
      if (text !== undefined) return text;
    }
    return undefined;
  };
  const [meta, user, network] = [
    await read("meta_data.json"),
    await read("user_data"),
    await read("network_data.json"),
  ];
  if (meta === undefined && user === undefined && network === undefined) {
    throw invalid("config-drive", `${directory} holds no meta_data.json, user_data or network_data.json`);
  }
  return {
    ...(meta === undefined ? {} : { meta_data: parse(meta) }),
    ...(user === undefined ? {} : { user_data: user }),
    ...(network === undefined ? {} : { network_data: parse(network) }),
  };
}
