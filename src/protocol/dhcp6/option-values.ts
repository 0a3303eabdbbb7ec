import type { ByteReader } from "../../core/byte-reader.ts";
import { Fault, MalformedFault } from "../../core/fault.ts";
import { type Ipv6Address, ipv6FromBytes, ipv6ToBytes } from "../../core/ipv6-address.ts";
import { listOf, uint16, type ValueCodec } from "../value-codec.ts";
import { type RawOption, readRawOptions, writeRawOptions } from "./raw-options.ts";

/** @source RFC 8415 §21.4 */
export interface IdentityAssociation {
  readonly iaid: number;
  /** Seconds. */
  readonly t1: number;
  readonly t2: number;
  readonly options: readonly RawOption[];
}

/** IA_TA, which has no times of its own. @source RFC 8415 §21.5 */
export interface TemporaryAssociation {
  readonly iaid: number;
  readonly options: readonly RawOption[];
}

/** @source RFC 8415 §21.6 */
export interface IaAddress {
  readonly address: Ipv6Address;
  /** Seconds; 0xffffffff: for ever. */
  readonly preferredLifetime: number;
  readonly validLifetime: number;
  readonly options: readonly RawOption[];
}

/** @source RFC 8415 §21.13 */
export interface Status {
  readonly code: number;
  readonly message: string;
}

/** @source RFC 8415 §21.16 */
export interface VendorClass {
  readonly enterprise: number;
  readonly data: readonly Uint8Array[];
}

/** @source RFC 6939 §4 */
export interface LinkLayerAddress {
  /** Of IANA's hardware types; 1: Ethernet. */
  readonly hardwareType: number;
  readonly address: Uint8Array;
}

export const uint16List = listOf(uint16, 0);

/** A type of two bytes, then 1 to 128 bytes. @source RFC 8415 §11.1 */
export const duid: ValueCodec<Uint8Array> = {
  form: "DUID",
  decode: (reader, field) => {
    const { offset, remaining } = reader;
    if (remaining < 3 || remaining > 130)
      throw new MalformedFault(field, offset, 3, remaining, `${field}: a DUID has 3 to 130 bytes, not ${remaining}`);
    return reader.rest();
  },
  encode: (value, writer) => writer.bytes(value),
};

export const text: ValueCodec<string> = {
  form: "text",
  decode: (reader, field) => utf8(reader.rest(), field, reader.offset),
  encode: (value, writer) => writer.bytes(Buffer.from(value, "utf8")),
};

export const ipv6: ValueCodec<Ipv6Address> = {
  form: "IPv6 address",
  size: 16,
  decode: (reader, field) => ipv6FromBytes(reader.bytes(field, 16)),
  encode: (value, writer) => writer.bytes(ipv6ToBytes(value)),
};

export const ipv6List = listOf(ipv6, 0);

/** Of user classes, vendor class data, boot file parameters. */
const opaque: ValueCodec<Uint8Array> = {
  form: "bytes behind their length",
  decode: (reader, field) => reader.bytes(field, reader.u16(field)),
  encode: (value, writer) => writer.u16(value.length).bytes(value),
};

export const opaqueList = listOf(opaque, 0);

export const vendorClass: ValueCodec<VendorClass> = {
  form: "vendor class",
  decode: (reader, field) => ({ enterprise: reader.u32(field), data: opaqueList.decode(reader, field) }),
  encode: ({ enterprise, data }, writer) => {
    writer.u32(enterprise);
    opaqueList.encode(data, writer);
  },
};

export const identityAssociation: ValueCodec<IdentityAssociation> = {
  form: "identity association",
  decode: (reader, field) => ({
    iaid: reader.u32(field),
    t1: reader.u32(field),
    t2: reader.u32(field),
    options: readRawOptions(reader),
  }),
  encode: ({ iaid, t1, t2, options }, writer) => {
    writer.u32(iaid).u32(t1).u32(t2);
    writeRawOptions(writer, options);
  },
};

export const temporaryAssociation: ValueCodec<TemporaryAssociation> = {
  form: "temporary identity association",
  decode: (reader, field) => ({ iaid: reader.u32(field), options: readRawOptions(reader) }),
  encode: ({ iaid, options }, writer) => {
    writer.u32(iaid);
    writeRawOptions(writer, options);
  },
};

export const iaAddress: ValueCodec<IaAddress> = {
  form: "address of an association",
  decode: (reader, field) => ({
    address: ipv6FromBytes(reader.bytes(field, 16)),
    preferredLifetime: reader.u32(field),
    validLifetime: reader.u32(field),
    options: readRawOptions(reader),
  }),
  encode: ({ address, preferredLifetime, validLifetime, options }, writer) => {
    writer.bytes(ipv6ToBytes(address)).u32(preferredLifetime).u32(validLifetime);
    writeRawOptions(writer, options);
  },
};

export const status: ValueCodec<Status> = {
  form: "status",
  decode: (reader, field) => ({ code: reader.u16(field), message: text.decode(reader, field) }),
  encode: ({ code, message }, writer) => {
    writer.u16(code);
    text.encode(message, writer);
  },
};

export const linkLayerAddress: ValueCodec<LinkLayerAddress> = {
  form: "link-layer address",
  decode: (reader, field) => ({ hardwareType: reader.u16(field), address: reader.rest() }),
  encode: ({ hardwareType, address }, writer) => writer.u16(hardwareType).bytes(address),
};

const LONGEST_NAME = 255;

/** In labels, without compression. @source RFC 8415 §10, RFC 1035 §3.1 */
const domainName: ValueCodec<string> = {
  form: "domain name",
  decode: decodeName,
  encode: (name, writer) => {
    for (const label of name.replace(/\.$/, "").split(".")) {
      if (label.length < 1 || label.length > 63)
        throw new Fault("internal", "encode", `"${name}" is not a domain name`);
      writer.u8(label.length).latin1(label);
    }
    writer.u8(0);
  },
};

export const domainNameList = listOf(domainName, 0);

function decodeName(reader: ByteReader, field: string): string {
  const labels: string[] = [];
  let size = 1;
  for (;;) {
    const { offset } = reader;
    const length = reader.u8(field);
    if (length === 0) break;
    size += length + 1;
    if (length > 63 || size > LONGEST_NAME)
      throw new MalformedFault(field, offset, 1, 1, `${field}: ${length} is not the length of a label`);
    const label = Buffer.from(reader.bytes(field, length)).toString("latin1");
    if (label.includes(".")) throw new MalformedFault(field, offset, 1, 1, `${field}: a label holds a dot`);
    labels.push(label);
  }
  if (labels.length === 0) throw new MalformedFault(field, reader.offset, 1, 0, `${field}: a name without labels`);
  return labels.join(".");
}

function utf8(bytes: Uint8Array, field: string, offset: number): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new MalformedFault(field, offset, 0, bytes.length, `${field}: is not UTF-8`);
  }
}
