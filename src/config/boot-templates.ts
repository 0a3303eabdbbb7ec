import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type BootTemplate,
  type BootTemplates,
  parseTemplate,
  templateNames,
  type TemplateName,
} from "../domain/boot-template.ts";
import { ConfigFault, type ConfigProblem } from "./load.ts";

/** What looks like a template and is none would be a mistake that nobody sees. */
const LIKE_A_TEMPLATE = /\.(ipxe|grub|pxelinux)$/;

/** The operator's templates; none where the directory is absent. @throws ConfigFault with every problem at once */
export function loadBootTemplates(directory: string): BootTemplates {
  const { templates, problems } = readBootTemplates(directory);
  if (problems.length > 0) throw new ConfigFault(problems);
  return templates;
}

/** As loadBootTemplates, for those who want to show the problems, which name the file with its path. */
export function readBootTemplates(directory: string): {
  readonly templates: BootTemplates;
  readonly problems: readonly ConfigProblem[];
} {
  const templates = new Map<TemplateName, BootTemplate>();
  const problems: ConfigProblem[] = [];
  const problem = (file: string, message: string, line = 1, column = 1): void =>
    void problems.push({ at: { file, line, column }, key: "", message });
  for (const name of listed(directory, problem)) {
    const path = join(directory, name);
    const known = templateNames.find((one) => one === name);
    if (known === undefined) {
      problem(path, `is no template's name; these are: ${templateNames.join(", ")}`);
      continue;
    }
    try {
      templates.set(
        known,
        parseTemplate(known, readFileSync(path, "utf8"), (...what) => problem(path, ...what)),
      );
    } catch (error) {
      problem(path, `cannot be read: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`);
    }
  }
  return { templates, problems };
}

function listed(directory: string, problem: (file: string, message: string) => void): readonly string[] {
  try {
    return readdirSync(directory)
      .filter((name) => LIKE_A_TEMPLATE.test(name))
      .sort();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT") problem(directory, `cannot be read: ${String(code)}`);
    return [];
  }
}
