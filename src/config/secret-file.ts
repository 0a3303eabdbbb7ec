import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Secret } from "../core/secret.ts";
import type { Place } from "./toml.ts";

/** A secret that this process cannot get at, which says nothing about whether the daemon can. */
export class UnreachableSecretError extends Error {}

/** Where a secret is kept: an absolute path, or the name of a systemd credential. */
export class SecretFile {
  readonly name: string;
  readonly at: Place;

  constructor(name: string, at: Place) {
    this.name = name;
    this.at = at;
  }

  /** The secret, without the line end after it. @throws Error with a sentence that says why there is none */
  read(credentialsDirectory: string | undefined): Secret {
    if (!this.name.startsWith("/") && credentialsDirectory === undefined) {
      throw new UnreachableSecretError(
        `"${this.name}" names a systemd credential, but there is no credentials directory; give an absolute path`,
      );
    }
    const path = this.name.startsWith("/") ? this.name : join(credentialsDirectory ?? "", this.name);
    let content: string;
    try {
      const { mode } = statSync(path);
      if ((mode & 0o007) !== 0) throw new Error(`everybody can read ${path}; it holds a secret: chmod 600 ${path}`);
      content = readFileSync(path, "utf8");
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === undefined) throw error;
      const denied = code === "EACCES" || code === "EPERM";
      throw new (denied ? UnreachableSecretError : Error)(`${path} cannot be read: ${code}`, { cause: error });
    }
    const secret = content.replace(/\r?\n$/, "");
    if (secret === "") throw new Error(`${path} is empty`);
    return new Secret(secret);
  }
}
