import type { Secret } from "../core/secret.ts";
import type { Field } from "./field.ts";
import type { SecretFile } from "./secret-file.ts";
import type { ConfigTable } from "./table.ts";

type Camel<S extends string> = S extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : S;
/** A key `x_file` that names a secret's file becomes the secret `x`. */
type Name<K extends string, T> = SecretFile extends T
  ? K extends `${infer Stem}_file`
    ? Camel<Stem>
    : Camel<K>
  : Camel<K>;
type Value<T> = SecretFile extends T ? Exclude<T, SecretFile> | Secret : T;
type FieldType<F> = F extends Field<infer T> ? T : never;

type SectionConfig<Fields> = {
  readonly [K in keyof Fields & string as Name<K, FieldType<Fields[K]>>]: Value<FieldType<Fields[K]>>;
};

/** appliance.conf as the program sees it: camelCase, durations in Millis, sizes in Bytes, secrets read. Frozen. */
export type Config = { readonly [S in keyof ConfigTable]: SectionConfig<ConfigTable[S]["fields"]> };

/** The name of a key in Config. */
export function configName(key: string, isSecret: boolean): string {
  const stem = isSecret ? key.replace(/_file$/, "") : key;
  return stem.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
