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
    .addOption(new Option('--data <folder>', 'everything is kept here').env('PAIRWISE_DATA').default('./pairwise-data'))
    .addOption(
      new Option('--listen <host:port>', 'the one address of the platform')
        .env('PAIRWISE_ADDRESS')
        .default(defaultAddress),
    )
    .option('--model-root <folder...>', 'read models below these folders only (PAIRWISE_MODEL_ROOTS)')
    .addOption(new Option('--tls-cert <file>', 'certificate chain, PEM').env('PAIRWISE_TLS_CERT'))
    .addOption(new Option('--tls-key <file>', 'its key, PEM').env('PAIRWISE_TLS_KEY'))
    .addOption(new Option('--access-file <file>', 'tokens and their roles, JSON').env('PAIRWISE_ACCESS_FILE'))
    .option('--insecure', 'let other machines in without TLS and token (PAIRWISE_INSECURE)')
    .addHelpText('after', upHelp)
    .action(async function (this: Command) {
      process.exitCode = await up(this.optsWithGlobals<UpOptions & { tokenFile?: string }>());
    });
}

const upHelp = `
It starts Postgres (or uses DATABASE_URL), the five services and two workers, and starts again what dies. Everything
else of the environment goes to them: PAIRWISE_THREADS, PAIRWISE_DEVICE, PAIRWISE_BLOB_URL, HF_*, OTEL_*.
An address that other machines can reach needs --tls-cert, --tls-key and --token-file, or --insecure. A token file holds
one line of at least 16 characters, which every caller must show (PAIRWISE_TOKEN_FILE); 'pairwise access token' makes one.
With --access-file callers have tokens of their own, with roles; that of --token-file must be among them, as admin on *.
Ctrl-C stops all in order; a second one at once. Nothing is lost either way.

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

/** One line an event: for people on a terminal, JSON elsewhere. */
function write(line: LogLine): void {
  process.stdout.write(`${process.stdout.isTTY ? formatLine(line) : JSON.stringify(line)}\n`);
}

/** Brings the platform up and waits for SIGINT, SIGTERM or SIGHUP. A second one ends everything at once. */
async function up(options: UpOptions & { tokenFile?: string }): Promise<number> {
  const { startPlatform } = await import('./platform.ts');
  // A terminal that was closed is no reason to leave the platform without its supervisor.
  process.stdout.removeAllListeners('error').on('error', () => undefined);
  const stopping = new AbortController();
  let platform: Platform | undefined;
  const asked = new Promise<void>((tell) => {
    const stop = () => {
      if (stopping.signal.aborted) {
        platform?.kill();
        process.exit(exitCodes.detached);
      }
      stopping.abort();
      tell();
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  });
  try {
    platform = await startPlatform({ ...platformOptions(options), log: write, signal: stopping.signal });
  } catch (error) {
    if (stopping.signal.aborted) return exitCodes.succeeded;
    // An address, a file or a variable that cannot be used is for the user to change.
    if (error instanceof PairwiseError && error.reason === 'INVALID_ARGUMENT') usage(error.message);
    throw error;
  }
  if (process.stdout.isTTY) process.stdout.write(`${paint('green', 'Ready.')} Ctrl-C stops it.\n`);
  await asked;
  await platform.stop();
  return exitCodes.succeeded;
}
