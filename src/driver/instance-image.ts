import { invalid } from "../core/fault.ts";
import { property, stringProperty, type JsonObject } from "../core/json.ts";
import { formatByName, IMAGE_FORMATS, isImageFormat, type ImageFormat } from "../domain/image-format.ts";

export interface InstanceImage {
  readonly source: string;
  readonly format: ImageFormat;
  readonly checksum?: { readonly algorithm: "md5" | "sha256" | "sha512"; readonly value: string };
}

const LENGTHS = { md5: 32, sha256: 64, sha512: 128 } as const;

/** The image that instance_info asks for. @throws Fault invalid (names the field) */
export function instanceImage(instanceInfo: JsonObject): InstanceImage {
  const source = stringProperty(instanceInfo, "image_source");
  if (source === undefined || source === "") {
    throw invalid("instance_info.image_source", "is missing; give the path or URL of the image to deploy");
  }
  const format = property(instanceInfo, "image_disk_format") ?? formatByName(source) ?? "raw";
  if (!isImageFormat(format)) {
    throw invalid(
      "instance_info.image_disk_format",
      `must be one of ${IMAGE_FORMATS.join(", ")}, not ${JSON.stringify(format)}`,
    );
  }
  const checksum = checksumOf(instanceInfo);
  return checksum === undefined ? { source, format } : { source, format, checksum };
}

function checksumOf(info: JsonObject): InstanceImage["checksum"] {
  const legacy = stringProperty(info, "image_checksum");
  const algorithm = stringProperty(info, "image_os_hash_algo") ?? (legacy === undefined ? undefined : byLength(legacy));
  const value = stringProperty(info, "image_os_hash_value") ?? legacy;
  if (algorithm === undefined && value === undefined) return undefined;
  if (algorithm !== "md5" && algorithm !== "sha256" && algorithm !== "sha512") {
    throw invalid("instance_info.image_os_hash_algo", "must be md5, sha256 or sha512");
  }
  const hex = value?.toLowerCase();
  if (hex === undefined || !/^[0-9a-f]+$/.test(hex) || hex.length !== LENGTHS[algorithm]) {
    throw invalid(
      "instance_info.image_os_hash_value",
      `must be ${LENGTHS[algorithm]} hexadecimal digits for ${algorithm}`,
    );
  }
  return { algorithm, value: hex };
}

function byLength(hex: string): string | undefined {
  return Object.entries(LENGTHS).find(([, length]) => length === hex.length)?.[0];
}
