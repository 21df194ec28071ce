import { type Command, globalHint, pairwise } from 'pairwise/program';
import { notice } from './markdown.ts';

const introduction = `# Command line reference

The help of the \`pairwise\` command and its subcommands. In a checkout, run it as \`npm run pairwise -- <command>\`.
Every command that calls the platform also takes the options of the first section.`;

/** `docs/cli.md`. */
export function cliReference(): string {
  return `${[notice, introduction, ...sections(pairwise())].join('\n\n')}\n`;
}

/** The help of a command and its subcommands. A group adds nothing to the help of its members, so it has no section. */
function sections(command: Command): string[] {
  const isGroup = command.parent !== null && command.commands.length > 0;
  const own = isGroup ? [] : [`## ${fullName(command)}`, `\`\`\`text\n${helpOf(command)}\n\`\`\``];
  return [...own, ...command.commands.flatMap(sections)];
}

function fullName(command: Command): string {
  return command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`;
}

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (part) => (text += part),
    getOutHelpWidth: () => 110,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return text.replace(globalHint, '').trim();
}
