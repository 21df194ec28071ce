import { Command, Option } from 'commander';
import { type ConnectionOptions, type Services, connect } from './connection.ts';
import { exitCodes, usage } from './exit.ts';
import { defaultAddress } from './address.ts';

/** Values of the options that every command takes. */
export interface GlobalOptions extends ConnectionOptions {
  json?: boolean;
  project: string;
}

export interface Context {
  services: Services;
  /** Print proto JSON instead of tables. */
  json: boolean;
  /** `projects/<project>`. */
  project: string;
  /** Aborted by Ctrl-C; a second one ends the process. */
  interrupted: AbortSignal;
  address: string;
}

/** The options that every command takes. */
export function globalOptions(): Option[] {
  return [
    new Option('--address <host:port>', 'address of the platform').env('PAIRWISE_ADDRESS').default(defaultAddress),
    new Option('--token-file <file>', 'file that holds the bearer token').env('PAIRWISE_TOKEN_FILE'),
    new Option('--tls', "use TLS and trust the system's certificate authorities"),
    new Option('--tls-ca <file>', 'use TLS and trust the certificate authority in this PEM file').env(
      'PAIRWISE_TLS_CA',
    ),
    new Option('--project <id>', 'project in which short names are looked up').default('default'),
    new Option('--json', 'print proto JSON, one object per line'),
  ];
}

function abortOnInterrupt(): AbortSignal {
  const controller = new AbortController();
  process.once('SIGINT', () => {
    controller.abort();
    process.once('SIGINT', () => process.exit(exitCodes.detached));
  });
  return controller.signal;
}

/**
 * Turns a function of the context, the arguments and the options into a command's action. The function returns an exit
 * code; undefined means success.
 */
export function action(
  // Only commander knows the arguments and options that the command declares.
  run: (context: Context, ...rest: never[]) => Promise<number | undefined>,
): (this: Command, ...rest: unknown[]) => Promise<void> {
  return async function (this: Command, ...rest) {
    const { json = false, project, ...connection } = this.optsWithGlobals<GlobalOptions>();
    if (!/^[a-z0-9][a-z0-9-]*$/.test(project)) usage(`--project '${project}' is not a valid id; use a-z, 0-9 and -`);
    // The reader may close the pipe early, as `head` does.
    process.stdout.on('error', () => process.exit(exitCodes.succeeded));
    const services = connect(connection);
    try {
      const context = {
        services,
        json,
        project: `projects/${project}`,
        interrupted: abortOnInterrupt(),
        address: connection.address,
      };
      // Commander passes the command itself as the last argument.
      process.exitCode = (await run(context, ...(rest.slice(0, -1) as never[]))) ?? exitCodes.succeeded;
    } finally {
      services.close();
    }
  };
}
