import { ByteReader } from "../../core/byte-reader.ts";
import { ByteWriter } from "../../core/byte-writer.ts";
import {
  authenticationAlgorithms,
  confidentialityAlgorithms,
  integrityAlgorithms,
  type AuthenticationAlgorithm,
  type ConfidentialityAlgorithm,
  type IntegrityAlgorithm,
} from "./cipher-suite.ts";
import { wrong } from "./rmcp.ts";

/** The one set of algorithms that the console proposes, or that the BMC chose. */
export interface Algorithms {
  readonly authentication: AuthenticationAlgorithm;
  readonly integrity: IntegrityAlgorithm;
  readonly confidentiality: ConfidentialityAlgorithm;
}

export interface OpenSessionRequest extends Algorithms {
  readonly tag: number;
  /** 0 asks for the highest level that the algorithms allow. */
  readonly privilege: number;
  readonly consoleSessionId: number;
}

export type OpenSessionResponse =
  | { readonly kind: "refused"; readonly tag: number; readonly status: number }
  | ({
      readonly kind: "opened";
      readonly tag: number;
      readonly privilege: number;
      readonly consoleSessionId: number;
      readonly managedSessionId: number;
    } & Algorithms);

/** @source IPMI 2.0 §13.17, table 13-9 */
export function encodeOpenSessionRequest(request: OpenSessionRequest): Uint8Array {
  const writer = new ByteWriter(32).u8(request.tag).u8(request.privilege).zeroes(2).u32LE(request.consoleSessionId);
  return algorithms(writer, request).toBytes();
}

/** @source IPMI 2.0 §13.18, table 13-10 */
export function decodeOpenSessionResponse(bytes: Uint8Array): OpenSessionResponse {
  const reader = new ByteReader(bytes);
  const tag = reader.u8("openSession.tag");
  const status = reader.u8("openSession.status");
  // What follows an error is the console's session id on most BMCs and nothing on some.
  if (status !== 0) return { kind: "refused", tag, status };
  const privilege = reader.u8("openSession.privilege");
  reader.skip("openSession.reserved", 1);
  const consoleSessionId = reader.u32LE("openSession.consoleSessionId");
  const managedSessionId = reader.u32LE("openSession.managedSessionId");
  const authentication = algorithm(reader, 0, "openSession.authentication", authenticationAlgorithms);
  const integrity = algorithm(reader, 1, "openSession.integrity", integrityAlgorithms);
  const confidentiality = algorithm(reader, 2, "openSession.confidentiality", confidentialityAlgorithms);
  reader.expectEnd("openSession");
  return {
    kind: "opened",
    tag,
    privilege,
    consoleSessionId,
    managedSessionId,
    authentication,
    integrity,
    confidentiality,
  };
}

/** For the other side of the exchange, and for proving that the decoder loses nothing. */
export function encodeOpenSessionResponse(response: OpenSessionResponse): Uint8Array {
  if (response.kind === "refused") return new ByteWriter(2).u8(response.tag).u8(response.status).toBytes();
  const writer = new ByteWriter(36).u8(response.tag).u8(0).u8(response.privilege).u8(0);
  return algorithms(writer.u32LE(response.consoleSessionId).u32LE(response.managedSessionId), response).toBytes();
}

export function decodeOpenSessionRequest(bytes: Uint8Array): OpenSessionRequest {
  const reader = new ByteReader(bytes);
  const tag = reader.u8("openSession.tag");
  const privilege = reader.u8("openSession.privilege");
  reader.skip("openSession.reserved", 2);
  const consoleSessionId = reader.u32LE("openSession.consoleSessionId");
  const authentication = algorithm(reader, 0, "openSession.authentication", authenticationAlgorithms);
  const integrity = algorithm(reader, 1, "openSession.integrity", integrityAlgorithms);
  const confidentiality = algorithm(reader, 2, "openSession.confidentiality", confidentialityAlgorithms);
  reader.expectEnd("openSession");
  return { tag, privilege, consoleSessionId, authentication, integrity, confidentiality };
}

/*
 * An algorithm record:
 * +--------------+-------------+-------------+----------------+-------------+--------------------+
 * | payload type | reserved    | reserved    | length = 8     | algorithm   | reserved (3 bytes) |
 * +--------------+-------------+-------------+----------------+-------------+--------------------+
 */

function algorithms(writer: ByteWriter, chosen: Algorithms): ByteWriter {
  const codes = [
    authenticationAlgorithms[chosen.authentication].code,
    integrityAlgorithms[chosen.integrity].code,
    confidentialityAlgorithms[chosen.confidentiality].code,
  ];
  for (const [type, code] of codes.entries()) writer.u8(type).zeroes(2).u8(8).u8(code).zeroes(3);
  return writer;
}

function algorithm<Name extends string>(
  reader: ByteReader,
  type: number,
  field: string,
  table: Readonly<Record<Name, { readonly code: number }>>,
): Name {
  const at = reader.offset;
  const found = reader.u8(field);
  if (found !== type) throw wrong(field, at, `record has payload type ${found}, not ${type}`);
  reader.skip(field, 2);
  const length = reader.u8(field);
  if (length !== 8) throw wrong(field, at + 3, `record has length ${length}, not 8`);
  const code = reader.u8(field);
  reader.skip(field, 3);
  for (const name of Object.keys(table) as Name[]) if (table[name].code === code) return name;
  throw wrong(field, at + 4, `0x${code.toString(16)} is not an algorithm of IPMI 2.0`);
}
