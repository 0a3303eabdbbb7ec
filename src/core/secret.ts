import { inspect } from "node:util";

const MASK = "***";

/** A value that prints as ***: in logs, errors, JSON and the debugger alike. Only `reveal` gives it. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [inspect.custom](): string {
    return MASK;
  }
}

/** Ironic's sign for a value that is there and not shown. */
export const HIDDEN = "******";

const SECRET_KEY =
  /password|passphrase|secret|token|community|(^|_)key$|_key_|priv_key|auth_key|hex_kg|configdrive|credential/i;

/** Whether a key of driver_info, instance_info or the like names something that must never be shown and is encrypted at rest. */
export function isSecretKey(key: string): boolean {
  return SECRET_KEY.test(key);
}
