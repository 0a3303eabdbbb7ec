import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { isIP } from "node:net";
import { Secret } from "../core/secret.ts";
import type { Config } from "./config.ts";
import { ConfigFault, type ConfigProblem } from "./load.ts";

/** A certificate with its key, as PEM, that belong together. */
export interface Certificate {
  /** The server's own first, then those that signed it. */
  readonly cert: string;
  readonly key: Secret;
  readonly own: X509Certificate;
}

type Problem = (key: "https_cert_file" | "https_key_file", message: string) => void;

/** The certificate of boot HTTP; null where TLS is not asked for. @throws ConfigFault that names the key and its file */
export function loadCertificate(boot: Config["boot"]): Certificate | null {
  const { certificate, problems } = readCertificate(boot);
  if (problems.length > 0) throw new ConfigFault(problems);
  return certificate;
}

/** As loadCertificate, for those who want to show the problems. A key that this process may not read is passed over where secrets are `optional`. */
export function readCertificate(
  { httpsCertFile: certFile, httpsKeyFile: keyFile }: Config["boot"],
  secrets: "needed" | "optional" = "needed",
): { readonly certificate: Certificate | null; readonly problems: readonly ConfigProblem[] } {
  const problems: ConfigProblem[] = [];
  if (certFile === null || keyFile === null) return { certificate: null, problems };
  const files = { https_cert_file: certFile, https_key_file: keyFile };
  const problem: Problem = (key, message) =>
    void problems.push({ at: { file: files[key], line: 1, column: 1 }, key: `boot.${key}`, message });
  const cert = readText(certFile, (code) => problem("https_cert_file", `cannot be read: ${code}`));
  const own = cert === undefined ? undefined : parseCertificates(cert, problem);
  const key = readKey(keyFile, secrets, problem);
  if (cert === undefined || own === undefined || key === undefined) return { certificate: null, problems };
  if (!own.checkPrivateKey(key.object)) {
    problem("https_key_file", `is not the key of the first certificate in ${certFile}`);
    return { certificate: null, problems };
  }
  return { certificate: { cert, key: new Secret(key.text), own }, problems };
}

const DAY_MS = 86_400_000;
const SOON_DAYS = 14;

/** What machines that load from us would not like about the certificate at this instant. */
export function certificateDoubts(
  { own }: Certificate,
  config: Pick<Config, "boot" | "dhcp6">,
  now: Date,
): readonly string[] {
  const doubts: string[] = [];
  const left_ms = Date.parse(own.validTo) - now.getTime();
  if (left_ms <= 0) doubts.push(`it expired on ${own.validTo}`);
  else if (left_ms < SOON_DAYS * DAY_MS) doubts.push(`it expires on ${own.validTo}`);
  if (Date.parse(own.validFrom) > now.getTime()) doubts.push(`it is valid only from ${own.validFrom} on`);
  for (const host of askedHosts(config)) {
    const isAddress = isIP(host) !== 0;
    if ((isAddress ? own.checkIP(host) : own.checkHost(host)) !== undefined) continue;
    const kind = isAddress ? "an IP address" : "a DNS name";
    doubts.push(`it does not name ${host} as ${kind} in subjectAltName, by which machines ask`);
  }
  return doubts;
}

/** What machines ask by at each address that boot HTTP listens at: that address, or the name which URLs have in its place. */
function askedHosts({ boot, dhcp6 }: Pick<Config, "boot" | "dhcp6">): readonly string[] {
  const { enabled, address, bootHost } = dhcp6;
  if (!enabled || address === null) return [boot.address.address];
  return [boot.address.address, bootHost?.replace(/^\[|\]$/g, "") ?? address.address];
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The first one, when all can be read. */
function parseCertificates(text: string, problem: Problem): X509Certificate | undefined {
  const parts = text.match(PEM_CERTIFICATE) ?? [];
  if (parts.length === 0) problem("https_cert_file", "holds no certificate in PEM form");
  try {
    return parts.map((part) => new X509Certificate(part))[0];
  } catch (error) {
    problem("https_cert_file", `holds a certificate that cannot be read: ${(error as Error).message}`);
    return undefined;
  }
}

function readKey(
  file: string,
  secrets: "needed" | "optional",
  problem: Problem,
): { readonly text: string; readonly object: KeyObject } | undefined {
  const text = readText(file, (code) => {
    if (secrets === "needed" || !DENIED.has(code)) problem("https_key_file", `cannot be read: ${code}`);
  });
  if (text === undefined) return undefined;
  if ((statSync(file).mode & 0o007) !== 0)
    problem("https_key_file", "can be read by everybody; it holds a secret: chmod 600");
  if (/ENCRYPTED/.test(text)) {
    problem("https_key_file", "is encrypted, and there is nobody to ask for the passphrase");
    return undefined;
  }
  try {
    return { text, object: createPrivateKey(text) };
  } catch {
    // What OpenSSL says of it helps nobody.
    problem("https_key_file", "holds no private key in PEM form");
    return undefined;
  }
}

const DENIED: ReadonlySet<string> = new Set(["EACCES", "EPERM"]);

function readText(file: string, failed: (code: string) => void): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    failed(String((error as NodeJS.ErrnoException).code));
    return undefined;
  }
}
