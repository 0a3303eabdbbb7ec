import { readBootTemplates } from "./boot-templates.ts";
import { readCertificate } from "./certificate.ts";
import type { Config } from "./config.ts";
import { checkConfig, type ConfigOptions, type ConfigProblem } from "./load.ts";

/**
 * As checkConfig, and what is wrong in the files that the configuration names: boot templates, the certificate of boot HTTP. Then
 * there is a config, and yet the daemon does not start.
 */
export function checkWithFiles(
  path: string,
  options: ConfigOptions = {},
): { readonly config: Config | undefined; readonly problems: readonly ConfigProblem[] } {
  const checked = checkConfig(path, options);
  if (checked.config === undefined) return checked;
  const { boot } = checked.config;
  const problems = [
    ...readBootTemplates(boot.templateDir).problems,
    ...readCertificate(boot, options.secrets ?? "optional").problems,
  ];
  return { config: checked.config, problems };
}
