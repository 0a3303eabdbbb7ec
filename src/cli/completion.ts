import type { Command, Option } from "commander";

/** What the shell sources: it asks the program itself, so that it knows the verbs and the nodes that there are. */
export const BASH_COMPLETION = `# bash completion for ironrack; try it with: source <(ironrack completion)
_ironrack() {
  local IFS=$'\\n'
  COMPREPLY=($(ironrack complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _ironrack ironrack
`;

/** What the words so far may go on with; `nodes`: the last one is to be the name of a node. */
export interface Completion {
  readonly words: readonly string[];
  readonly nodes: boolean;
}

/** Completes the last of `words`, which may be empty, over the tree of commands. */
export function complete(program: Command, words: readonly string[]): Completion {
  const last = words.at(-1) ?? "";
  let command = program;
  let positionals = 0;
  let valueOf: Option | undefined;
  for (const word of words.slice(0, -1)) {
    if (valueOf !== undefined) {
      valueOf = undefined;
    } else if (word.startsWith("-")) {
      const option = optionsOf(command).find(({ long, short }) => word === long || word === short);
      if (option !== undefined && (option.required || option.optional)) valueOf = option;
    } else {
      const next = command.commands.find((one) => one.name() === word);
      if (next === undefined) positionals += 1;
      else command = next;
    }
  }
  const fitting = (all: readonly string[]): readonly string[] => all.filter((one) => one.startsWith(last)).toSorted();
  if (valueOf !== undefined) return { words: [], nodes: valueOf.long === "--node" };
  if (last.startsWith("-"))
    return { words: fitting(optionsOf(command).flatMap(({ long }) => (long == null ? [] : [long]))), nodes: false };
  if (command.commands.length > 0)
    return {
      words: fitting(command.commands.map((one) => one.name()).filter((name) => name !== "complete")),
      nodes: false,
    };
  return { words: [], nodes: command.registeredArguments[positionals]?.name() === "node" };
}

/** The options of a command and of those above it, which are understood after it too. */
function optionsOf(command: Command): readonly Option[] {
  return command.parent === null ? command.options : [...command.options, ...optionsOf(command.parent)];
}
