import { gunzipSync, gzipSync } from "node:zlib";
import { Agent, interceptors } from "undici";
import { throwIfAborted } from "../core/clock.ts";
import { Fault, invalid, isFault } from "../core/fault.ts";
import { isJsonObject, type Json, type JsonObject, property } from "../core/json.ts";
import { encodeIso9660, type IsoFile } from "./iso9660.ts";

const FIELD = "configdrive";
const LABEL = "config-2";
/** What the agent's partition holds at most. @source ironic-python-agent, MAX_CONFIG_DRIVE_SIZE_MB */
const LARGEST = 64 * 1024 * 1024;
/** Readers pick the newest version that they know and fall back to `latest`. */
const VERSIONS = ["2012-08-10", "latest"];
const PARTS = ["meta_data", "user_data", "network_data", "vendor_data"];
/** Of every image, so that the same data give the same bytes. */
const DATE = new Date("2026-01-01T00:00:00Z");
const ISO9660_AT = 0x8001;
const BOOT_SIGNATURE_AT = 510;

export interface ConfigDriveOptions {
  readonly signal?: AbortSignal | undefined;
  /** Put into meta_data where it lacks them. */
  readonly uuid?: string | undefined;
  readonly name?: string | null | undefined;
}

/**
 * A config drive in the form the agent takes: base64 of a gzipped file system labelled config-2.
 * What is asked for is an object {meta_data, user_data, network_data, vendor_data}, its JSON text, an image in that very form,
 * or the URL of one. @throws Fault invalid (names the field), unreachable
 */
export async function buildConfigDrive(configdrive: Json, options: ConfigDriveOptions = {}): Promise<string> {
  if (isJsonObject(configdrive)) return fromParts(configdrive, options);
  if (typeof configdrive !== "string" || configdrive.trim() === "") {
    throw invalid(
      FIELD,
      "must be an object with meta_data, user_data and network_data, base64 of a gzipped image, or a URL",
    );
  }
  const text = configdrive.trim();
  if (text.startsWith("{")) return fromParts(parseObject(text, FIELD), options);
  if (isUrl(text)) return checkedImage(await fetchText(text, options.signal));
  return checkedImage(text);
}

/** Whether buildConfigDrive would take it, as far as that can be said without fetching it. @throws Fault invalid (names the field) */
export function checkConfigDrive(configdrive: string): void {
  const text = configdrive.trim();
  if (text.startsWith("{")) configDriveFiles(parseObject(text, FIELD));
  else if (!isUrl(text)) checkedImage(text);
}

function isUrl(text: string): boolean {
  return /^https?:\/\//i.test(text);
}

/** The files of a config drive, as OpenStack and EC2 lay them out. @source nova/virt/configdrive.py; openstacksdk baremetal/configdrive.py */
export function configDriveFiles(parts: JsonObject, options: ConfigDriveOptions = {}): readonly IsoFile[] {
  for (const key of Object.keys(parts)) {
    if (!PARTS.includes(key))
      throw invalid(`${FIELD}.${key}`, `is not a part of a config drive; those are ${PARTS.join(", ")}`);
  }
  const meta = metaData(objectPart(parts, "meta_data") ?? {}, options);
  const user = userData(property(parts, "user_data"));
  const network = objectPart(parts, "network_data");
  const vendor = objectPart(parts, "vendor_data");
  const files: IsoFile[] = [];
  for (const version of VERSIONS) {
    files.push({ path: `openstack/${version}/meta_data.json`, content: json(meta) });
    if (user !== undefined) files.push({ path: `openstack/${version}/user_data`, content: user });
    if (network !== undefined) files.push({ path: `openstack/${version}/network_data.json`, content: json(network) });
    if (vendor !== undefined) files.push({ path: `openstack/${version}/vendor_data.json`, content: json(vendor) });
  }
  files.push({ path: "ec2/latest/meta-data.json", content: json(ec2MetaData(meta)) });
  if (user !== undefined) files.push({ path: "ec2/latest/user-data", content: user });
  return files;
}

function fromParts(parts: JsonObject, options: ConfigDriveOptions): string {
  const image = encodeIso9660({ label: LABEL, files: configDriveFiles(parts, options), date: DATE });
  if (image.length > LARGEST) throw tooLarge(image.length);
  return gzipSync(image, { level: 9 }).toString("base64");
}

function tooLarge(bytes: number): Fault {
  return invalid(FIELD, `the config drive has ${bytes} bytes; ${LARGEST} are allowed`);
}

function metaData(given: JsonObject, options: ConfigDriveOptions): JsonObject {
  return {
    ...(options.uuid === undefined ? {} : { uuid: options.uuid }),
    ...(options.name == null ? {} : { name: options.name }),
    ...given,
  };
}

function ec2MetaData(meta: JsonObject): JsonObject {
  const id = property(meta, "uuid");
  const name = property(meta, "hostname") ?? property(meta, "name");
  const keys = property(meta, "public_keys");
  return {
    ...(id === undefined ? {} : { "instance-id": id }),
    ...(name === undefined ? {} : { hostname: name, "local-hostname": name }),
    ...(isJsonObject(keys)
      ? {
          "public-keys": Object.fromEntries(
            Object.entries(keys).map(([label, key], index) => [
              String(index),
              { _name: `${index}=${label}`, "openssh-key": key },
            ]),
          ),
        }
      : {}),
  };
}

/** Text as it is; an object or a list as JSON, as Ironic does. */
function userData(value: Json | undefined): Uint8Array | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string") return Buffer.from(value, "utf8");
  if (typeof value === "object") return json(value);
  throw invalid(`${FIELD}.user_data`, "must be text, an object or a list");
}

function objectPart(parts: JsonObject, key: string): JsonObject | undefined {
  const value = property(parts, key);
  if (value === undefined || value === null) return undefined;
  if (isJsonObject(value)) return value;
  if (typeof value === "string") return parseObject(value, `${FIELD}.${key}`);
  throw invalid(`${FIELD}.${key}`, "must be an object");
}

function parseObject(text: string, field: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(field, `is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (!isJsonObject(value)) throw invalid(field, "must be an object");
  return value;
}

function json(value: Json): Uint8Array {
  return Buffer.from(JSON.stringify(value), "utf8");
}

/** @throws Fault invalid when it is not base64 of a gzipped ISO 9660 or FAT file system of at most 64 MiB */
function checkedImage(text: string): string {
  const compact = text.replaceAll(/\s/g, "");
  if (compact.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(compact))
    throw invalid(FIELD, "is neither JSON nor base64");
  let image: Buffer;
  try {
    image = gunzipSync(Buffer.from(compact, "base64"), { maxOutputLength: LARGEST });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE") {
      throw invalid(FIELD, `the config drive has more than the ${LARGEST} bytes that are allowed`);
    }
    throw invalid(FIELD, "is not base64 of gzip");
  }
  const iso = image.subarray(ISO9660_AT, ISO9660_AT + 5).toString("latin1") === "CD001";
  const fat = image.length > SECTOR_OF_FAT && image.readUInt16BE(BOOT_SIGNATURE_AT) === 0x55aa;
  if (!iso && !fat) throw invalid(FIELD, "is not a gzipped ISO 9660 or FAT image");
  return compact;
}

const SECTOR_OF_FAT = 512;

async function fetchText(url: string, signal: AbortSignal | undefined): Promise<string> {
  if (!URL.canParse(url)) throw invalid(FIELD, "is not a URL");
  const { origin, pathname, search } = new URL(url);
  const shown = `${origin}${pathname}`;
  const agent = new Agent({ connect: { timeout: 10_000 }, headersTimeout: 30_000, bodyTimeout: 30_000 });
  try {
    const answer = await agent
      .compose(interceptors.redirect({ maxRedirections: 5 }))
      .request({ origin, path: `${pathname}${search}`, method: "GET", ...(signal === undefined ? {} : { signal }) });
    if (answer.statusCode !== 200) throw invalid(FIELD, `${shown} answered ${answer.statusCode}`);
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > LARGEST * 2) throw tooLarge(length);
    }
    return Buffer.concat(chunks).toString("latin1");
  } catch (error) {
    throwIfAborted(signal);
    if (isFault(error)) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw new Fault("unreachable", "configdrive.unreachable", `${FIELD}: ${shown}: ${message}`, {
      cause: error,
      detail: { field: FIELD },
    });
  } finally {
    await agent.destroy();
  }
}
