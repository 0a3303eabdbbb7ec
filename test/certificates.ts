import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** RSA for firmware and iPXE, many of which know nothing else. */
export type KeyKind = "ec" | "rsa";

const NEW_KEY: Readonly<Record<KeyKind, readonly string[]>> = {
  ec: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
  rsa: ["-newkey", "rsa:2048", "-nodes"],
};

/** An authority in `directory`, its certificates valid for a day. */
export class CertificateAuthority {
  readonly #directory: string;
  readonly #name: string;
  readonly #kind: KeyKind;

  constructor(directory: string, name: string, kind: KeyKind = "ec") {
    this.#directory = directory;
    this.#name = name;
    this.#kind = kind;
    this.#openssl("req", "-x509", ...NEW_KEY[kind], ...this.#keyOut(name), "-days", "1", "-subj", `/CN=${name}`);
  }

  /** Its own certificate. */
  get file(): string {
    return join(this.#directory, `${this.#name}.pem`);
  }

  /** A certificate with its key, for what `alternativeName` says ("IP:10.0.0.1"); `days` 0: it has expired at once. */
  issue(name: string, alternativeName: string, days = 1): { readonly cert: string; readonly key: string } {
    const path = (ending: string): string => join(this.#directory, `${name}.${ending}`);
    this.#openssl("req", ...NEW_KEY[this.#kind], "-keyout", path("key"), "-out", path("csr"), "-subj", `/CN=${name}`);
    writeFileSync(path("ext"), `subjectAltName=${alternativeName}\n`);
    const signed = ["-CA", this.file, "-CAkey", join(this.#directory, `${this.#name}.key`), "-CAcreateserial"];
    const what = ["-in", path("csr"), "-extfile", path("ext"), "-days", String(days), "-out", path("pem")];
    this.#openssl("x509", "-req", ...what, ...signed);
    return { cert: path("pem"), key: path("key") };
  }

  #keyOut(name: string): readonly string[] {
    return ["-keyout", join(this.#directory, `${name}.key`), "-out", join(this.#directory, `${name}.pem`)];
  }

  #openssl(...argv: readonly string[]): void {
    execFileSync("openssl", argv, { cwd: this.#directory, stdio: "pipe" });
  }
}
