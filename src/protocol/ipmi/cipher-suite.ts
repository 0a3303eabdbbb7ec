import { Fault } from "../../core/fault.ts";

/** How RAKP messages are keyed. @source IPMI 2.0 table 13-17 */
export const authenticationAlgorithms = {
  "rakp-none": { code: 0x00, hash: undefined, codeLength: 0 },
  "rakp-hmac-sha1": { code: 0x01, hash: "sha1", codeLength: 20 },
  "rakp-hmac-md5": { code: 0x02, hash: "md5", codeLength: 16 },
  "rakp-hmac-sha256": { code: 0x03, hash: "sha256", codeLength: 32 },
} as const;

/**
 * How packets of a session are protected against change, and the length to which RAKP 4's check value is cut.
 * @source IPMI 2.0 table 13-18
 */
export const integrityAlgorithms = {
  none: { code: 0x00, hash: undefined, codeLength: 0 },
  "hmac-sha1-96": { code: 0x01, hash: "sha1", codeLength: 12 },
  "hmac-md5-128": { code: 0x02, hash: "md5", codeLength: 16 },
  "hmac-sha256-128": { code: 0x04, hash: "sha256", codeLength: 16 },
} as const;

/** @source IPMI 2.0 table 13-19 */
export const confidentialityAlgorithms = {
  none: { code: 0x00 },
  "aes-cbc-128": { code: 0x01 },
} as const;

export type AuthenticationAlgorithm = keyof typeof authenticationAlgorithms;
export type IntegrityAlgorithm = keyof typeof integrityAlgorithms;
export type ConfidentialityAlgorithm = keyof typeof confidentialityAlgorithms;

export interface CipherSuite {
  readonly id: number;
  readonly authentication: AuthenticationAlgorithm;
  readonly integrity: IntegrityAlgorithm;
  readonly confidentiality: ConfidentialityAlgorithm;
  /** The length of the check value in RAKP 4; for suites without integrity it still follows the authentication algorithm. */
  readonly checkLength: number;
}

/**
 * The suites that this client offers: those that authenticate the user. The xRC4 suites need a cipher that is not built
 * in; suite 0 authenticates nobody (US-CERT TA13-207A) and is never offered.
 * @source IPMI 2.0 table 22-20
 */
export const cipherSuites = [
  { id: 1, authentication: "rakp-hmac-sha1", integrity: "none", confidentiality: "none", checkLength: 12 },
  { id: 2, authentication: "rakp-hmac-sha1", integrity: "hmac-sha1-96", confidentiality: "none", checkLength: 12 },
  {
    id: 3,
    authentication: "rakp-hmac-sha1",
    integrity: "hmac-sha1-96",
    confidentiality: "aes-cbc-128",
    checkLength: 12,
  },
  { id: 6, authentication: "rakp-hmac-md5", integrity: "none", confidentiality: "none", checkLength: 16 },
  { id: 7, authentication: "rakp-hmac-md5", integrity: "hmac-md5-128", confidentiality: "none", checkLength: 16 },
  {
    id: 8,
    authentication: "rakp-hmac-md5",
    integrity: "hmac-md5-128",
    confidentiality: "aes-cbc-128",
    checkLength: 16,
  },
  { id: 15, authentication: "rakp-hmac-sha256", integrity: "none", confidentiality: "none", checkLength: 16 },
  {
    id: 16,
    authentication: "rakp-hmac-sha256",
    integrity: "hmac-sha256-128",
    confidentiality: "none",
    checkLength: 16,
  },
  {
    id: 17,
    authentication: "rakp-hmac-sha256",
    integrity: "hmac-sha256-128",
    confidentiality: "aes-cbc-128",
    checkLength: 16,
  },
] as const satisfies readonly CipherSuite[];

export function findCipherSuite(id: number): CipherSuite | undefined {
  return cipherSuites.find((suite) => suite.id === id);
}

/** @throws Fault unsupported */
export function cipherSuite(id: number): CipherSuite {
  const suite = findCipherSuite(id);
  if (suite === undefined) {
    const known = cipherSuites.map((row) => row.id).join(", ");
    throw new Fault(
      "unsupported",
      "ipmi.cipher-suite",
      `IPMI cipher suite ${id} is not supported; supported are ${known}`,
    );
  }
  return suite;
}

/** The suites that an unattended session may use, best first: authenticated, integrity-protected and encrypted. */
export const preferredCipherSuites: readonly number[] = [17, 3];
