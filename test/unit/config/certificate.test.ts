import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { certificateDoubts, loadCertificate } from "../../../src/config/certificate.ts";
import { checkWithFiles } from "../../../src/config/check.ts";
import { loadConfig, problemLine } from "../../../src/config/load.ts";
import { CertificateAuthority } from "../../certificates.ts";

const directory = mkdtempSync(join(tmpdir(), "ironrack-certificate-"));
after(() => rmSync(directory, { recursive: true }));
const authority = new CertificateAuthority(directory, "ca");
const good = authority.issue("boot", "IP:10.20.0.1");
const other = authority.issue("other", "IP:10.20.0.9");

function configure(cert: string, key: string, more = ""): string {
  const path = join(directory, "appliance.conf");
  writeFileSync(
    path,
    `[boot]\ninterface = "eth1"\naddress = "10.20.0.1/24"\nhttps_cert_file = "${cert}"\nhttps_key_file = "${key}"\n${more}`,
  );
  return path;
}

function problems(cert: string, key: string, more = ""): string {
  return checkWithFiles(configure(cert, key, more))
    .problems.map(problemLine)
    .join("\n");
}

function scratch(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

test("a certificate with its key is read, and has no doubts about itself", () => {
  assert.equal(problems(good.cert, good.key), "");
  const config = loadConfig(configure(good.cert, good.key));
  const certificate = loadCertificate(config.boot);
  assert.ok(certificate !== null);
  assert.match(certificate.cert, /BEGIN CERTIFICATE/);
  assert.equal(JSON.stringify(certificate.key), '"***"');
  const in6Hours = new Date(Date.parse(certificate.own.validFrom) + 6 * 3_600_000);
  assert.match(certificateDoubts(certificate, config, in6Hours).join(), /^it expires on [^,]+$/);
  const nextYear = new Date(Date.parse(certificate.own.validFrom) + 366 * 86_400_000);
  assert.match(certificateDoubts(certificate, config, nextYear).join(), /^it expired on /);
  const lastYear = new Date(Date.parse(certificate.own.validFrom) - 366 * 86_400_000);
  assert.match(certificateDoubts(certificate, config, lastYear).join(), /^it is valid only from /);
});

test("a certificate is doubted that does not name what machines ask by, at each address that HTTPS listens at", () => {
  const unnamed = (alternativeName: string, dhcp6 = ""): string => {
    const { cert, key } = authority.issue("named", alternativeName, 100);
    const config = loadConfig(configure(cert, key, dhcp6));
    const certificate = loadCertificate(config.boot);
    assert.ok(certificate !== null);
    return certificateDoubts(certificate, config, new Date(Date.parse(certificate.own.validFrom) + 1000)).join("\n");
  };
  const reason = (what: string): string => `it does not name ${what} in subjectAltName, by which machines ask`;
  const ipv6 = '[dhcp6]\nenabled = true\naddress = "fd20::1/64"\n';
  assert.equal(unnamed("IP:10.20.0.1"), "");
  assert.equal(unnamed("IP:10.20.0.9"), reason("10.20.0.1 as an IP address"));
  assert.equal(unnamed("IP:10.20.0.1,IP:fd20::1"), "");
  assert.equal(unnamed("IP:10.20.0.1,IP:fd20:0::1", ipv6), "");
  assert.equal(unnamed("IP:10.20.0.1", ipv6), reason("fd20::1 as an IP address"));
  assert.equal(unnamed("IP:fd20::1", ipv6), reason("10.20.0.1 as an IP address"));
  assert.equal(unnamed("IP:10.20.0.1", ipv6.replace("true", "false")), "");
  const named = `${ipv6}boot_host = "boot.rack.example.org"\n`;
  assert.equal(unnamed("IP:10.20.0.1,DNS:boot.rack.example.org", named), "");
  assert.equal(unnamed("IP:10.20.0.1,IP:fd20::1", named), reason("boot.rack.example.org as a DNS name"));
  const bracketed = `${ipv6}boot_host = "[fd20::2]"\n`;
  assert.equal(unnamed("IP:10.20.0.1,IP:fd20::2", bracketed), "");
  assert.equal(unnamed("IP:10.20.0.1,IP:fd20::1", bracketed), reason("fd20::2 as an IP address"));
});

test("every mistake names the key and the file", () => {
  const key = (name: string): string => `boot.https_${name}_file: `;
  assert.match(problems(good.cert, other.key), new RegExp(`other\\.key:1:1: ${key("key")}is not the key of the first`));
  assert.match(
    problems(join(directory, "none"), good.key),
    new RegExp(`none:1:1: ${key("cert")}cannot be read: ENOENT`),
  );
  assert.match(problems(good.key, good.key), new RegExp(`${key("cert")}holds no certificate in PEM form`));
  assert.match(problems(good.cert, good.cert), new RegExp(`${key("key")}holds no private key in PEM form`));
  const broken = scratch("broken.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
  assert.match(problems(broken, good.key), new RegExp(`${key("cert")}holds a certificate that cannot be read`));
  const locked = scratch(
    "locked.key",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
  );
  assert.match(problems(good.cert, locked), new RegExp(`${key("key")}is encrypted`));
  chmodSync(other.key, 0o644);
  assert.match(problems(other.cert, other.key), new RegExp(`${key("key")}can be read by everybody`));
  assert.match(problems(good.cert, good.key, "https_port = 6385\n"), /boot\.https_port: is api\.port as well/);
});

test("TLS without one of the files, or wanted without either, is refused", () => {
  const text = '[boot]\ninterface = "eth1"\naddress = "10.20.0.1/24"\n';
  const half = scratch("half.conf", `${text}https_cert_file = "${good.cert}"\n`);
  assert.match(checkWithFiles(half).problems.map(problemLine).join(), /boot\.https_cert_file: .*come together/);
  const none = scratch("none.conf", `${text}https_for = ["ipxe"]\n`);
  assert.match(checkWithFiles(none).problems.map(problemLine).join(), /boot\.https_for: needs boot\.https_cert_file/);
});
