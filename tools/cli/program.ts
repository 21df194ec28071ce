import { versionIn } from '@pairwise/rpc';
import { Command } from 'commander';
import { accessCommand } from './commands/access.ts';
import { artifactsCommand } from './commands/artifacts.ts';
import { datasetsCommand } from './commands/datasets.ts';
import { doctorCommand } from './commands/doctor.ts';
import { modelsCommand } from './commands/models.ts';
import { runsCommand } from './commands/runs.ts';
import { globalOptions } from './context.ts';
import { upCommand } from './up/command.ts';

export type { Command } from 'commander';

const version = versionIn(new URL('package.json', import.meta.url));

const help = `
Exit codes: 0 succeeded, 1 failed, 2 usage error, 3 platform unreachable, 4 cancelled, 130 interrupted.

A first run:
  $ pairwise up                                    # in another terminal
  $ pairwise datasets import concise pairs.jsonl
  $ pairwise runs create -f run.yaml --watch
  $ pairwise artifacts download <run>`;

/** Ends the help of every command that calls the platform. */
export const globalHint = `
Every command also takes --address, --token-file, --tls, --tls-ca, --project and --json; see 'pairwise --help'.`;

/** Applies the settings that commander does not pass on to subcommands. */
function configure(command: Command): void {
  command.exitOverride().showHelpAfterError('(see --help)');
  const connects = command.parent !== null && command.name() !== 'up' && command.parent.name() !== 'access';
  if (connects && command.commands.length === 0) command.addHelpText('after', globalHint);
  command.commands.forEach(configure);
}

/** The whole command line. Parsing throws CommanderError instead of ending the process. */
export function pairwise(): Command {
  const program = new Command('pairwise')
    .description('Direct Preference Optimization as a platform: preference pairs and a base model in, a tuned GGUF out')
    .version(version)
    .addHelpText('after', help);
  globalOptions().forEach((option) => program.addOption(option));
  const commands = [
    upCommand,
    datasetsCommand,
    modelsCommand,
    runsCommand,
    artifactsCommand,
    accessCommand,
    doctorCommand,
  ];
  commands.forEach((command) => program.addCommand(command()));
  configure(program);
  return program;
}
