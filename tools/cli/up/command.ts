import { PairwiseError } from '@pairwise/errors';
import { Command, Option } from 'commander';
import { defaultAddress } from '../address.ts';
import { exitCodes, usage } from '../exit.ts';
import { paint } from '../output.ts';
import { type LogLine, formatLine } from './lines.ts';
import type { Platform, PlatformOptions } from './platform.ts';

interface UpOptions {
  data: string;
  listen: string;
  modelRoot?: string[];
  tlsCert?: string;
  tlsKey?: string;
  accessFile?: string;
  insecure?: boolean;
}

/** `pairwise up`. */
export function upCommand(): Command {
  return new Command('up')
    .description('run the whole platform on this machine, until Ctrl-C')
    .addOption(
      new Option('--data <folder>', 'where the platform stores everything')
        .env('PAIRWISE_DATA')
        .default('./pairwise-data'),
    )
    .addOption(
      new Option('--listen <host:port>', 'address of the platform').env('PAIRWISE_ADDRESS').default(defaultAddress),
    )
    .option('--model-root <folder...>', 'read models only below these folders (PAIRWISE_MODEL_ROOTS)')
    .addOption(new Option('--tls-cert <file>', 'PEM file with the certificate chain').env('PAIRWISE_TLS_CERT'))
    .addOption(new Option('--tls-key <file>', 'PEM file with its key').env('PAIRWISE_TLS_KEY'))
    .addOption(new Option('--access-file <file>', 'JSON file with tokens and their roles').env('PAIRWISE_ACCESS_FILE'))
    .option('--insecure', 'accept other machines without TLS and token (PAIRWISE_INSECURE)')
    .addHelpText('after', upHelp)
    .action(async function (this: Command) {
      process.exitCode = await up(this.optsWithGlobals<UpOptions & { tokenFile?: string }>());
    });
}

const upHelp = `
Starts Postgres (or uses DATABASE_URL), the five services and two workers, and restarts any that die. They inherit the
rest of the environment, such as PAIRWISE_THREADS, PAIRWISE_DEVICE, PAIRWISE_BLOB_URL, HF_* and OTEL_*.

An address that other machines can reach needs --tls-cert, --tls-key and --token-file, or --insecure. A token file holds
one line of at least 16 characters, which every caller must send (PAIRWISE_TOKEN_FILE); 'pairwise access token' creates
one. With --access-file, callers have their own tokens with roles; the token of --token-file must be among them, with the
role admin on *.

Ctrl-C stops everything gracefully, a second Ctrl-C at once. Nothing is lost either way.

Examples:
  $ pairwise up
  $ pairwise up --data /srv/pairwise --listen 0.0.0.0:7410 --tls-cert cert.pem --tls-key key.pem --token-file token`;

function platformOptions(options: UpOptions & { tokenFile?: string }): PlatformOptions {
  const { tlsCert: certFile, tlsKey: keyFile } = options;
  if ((certFile === undefined) !== (keyFile === undefined)) usage('--tls-cert and --tls-key belong together');
  const databaseUrl = process.env['DATABASE_URL'];
  return {
    dataFolder: options.data,
    address: options.listen,
    databaseUrl: databaseUrl === '' ? undefined : databaseUrl,
    modelRoots: options.modelRoot,
    tls: certFile !== undefined && keyFile !== undefined ? { certFile, keyFile } : undefined,
    tokenFile: options.tokenFile,
    accessFile: options.accessFile,
    insecure: options.insecure ?? /^(1|true)$/.test(process.env['PAIRWISE_INSECURE'] ?? ''),
  };
}

/** Prints one line per event: readable on a terminal, JSON elsewhere. */
function write(line: LogLine): void {
  process.stdout.write(`${process.stdout.isTTY ? formatLine(line) : JSON.stringify(line)}\n`);
}

/** Starts the platform and runs until SIGINT, SIGTERM or SIGHUP. A second signal ends everything at once. */
async function up(options: UpOptions & { tokenFile?: string }): Promise<number> {
  const { startPlatform } = await import('./platform.ts');
  // The supervisor must survive a closed terminal.
  process.stdout.removeAllListeners('error').on('error', () => undefined);
  const stopping = new AbortController();
  let platform: Platform | undefined;
  const stopRequested = new Promise<void>((resolve) => {
    const stop = () => {
      if (stopping.signal.aborted) {
        platform?.kill();
        process.exit(exitCodes.detached);
      }
      stopping.abort();
      resolve();
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  });
  try {
    platform = await startPlatform({ ...platformOptions(options), log: write, signal: stopping.signal });
  } catch (error) {
    if (stopping.signal.aborted) return exitCodes.succeeded;
    // An unusable address, file or variable is the user's to correct.
    if (error instanceof PairwiseError && error.reason === 'INVALID_ARGUMENT') usage(error.message);
    throw error;
  }
  if (process.stdout.isTTY) process.stdout.write(`${paint('green', 'Ready.')} Ctrl-C stops it.\n`);
  await stopRequested;
  await platform.stop();
  return exitCodes.succeeded;
}
