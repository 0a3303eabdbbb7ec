import { parseIpv4Address } from "../src/core/brand.ts";
import { type BootPolicy, defaultLoaders, defaultSignedLoaders } from "../src/domain/boot-plan.ts";
import { noTemplates } from "../src/domain/boot-template.ts";
import type { BootSettings } from "../src/service/boot-lookup.ts";
import { bootSecrets } from "../src/service/boot-secret.ts";

/** What the boot services of a test are set to: only enrolled machines, plain HTTP, a key that everybody knows. */
export function bootSettings(
  changes: Partial<Omit<BootSettings, "policy">> & { readonly policy?: Partial<BootPolicy> } = {},
): BootSettings {
  return {
    httpPort: 8080,
    httpsPort: null,
    apiPort: 6385,
    templates: noTemplates,
    secrets: bootSecrets(new Uint8Array(32)),
    ipv6: { host: null, apiAddress: parseIpv4Address("10.0.0.1") },
    ...changes,
    policy: {
      discovery: false,
      loaders: defaultLoaders,
      signedLoaders: defaultSignedLoaders,
      ramdisks: ["x86_64", "arm64"],
      httpsFor: [],
      kernelArguments: "",
      debug: false,
      ...changes.policy,
    },
  };
}
