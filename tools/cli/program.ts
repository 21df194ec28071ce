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

const version = versionIn(new URL('package.json', import.meta.url));

const help = `
Exit codes: 0 succeeded, 1 failed, 2 wrong usage, 3 platform out of reach, 4 cancelled.

A first run:
  $ pairwise up                                    # in a terminal of its own
  $ pairwise datasets import concise pairs.jsonl
  $ pairwise runs create -f run.yaml --watch
  $ pairwise artifacts download <run>`;

const everywhere = `
Every command takes --address, --token-file, --tls, --tls-ca, --project and --json too: see 'pairwise --help'.`;

/** Settings that subcommands do not inherit by themselves, given to all. */
function settle(command: Command): void {
  command.exitOverride().showHelpAfterError('(--help says more)');
  const talks = command.parent !== null && command.name() !== 'up' && command.parent.name() !== 'access';
  if (talks && command.commands.length === 0) command.addHelpText('after', everywhere);
  command.commands.forEach(settle);
}

/** The whole command line. Parsing throws CommanderError rather than to end the process. */
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
  settle(program);
  return program;
}
