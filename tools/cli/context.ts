import { Command, Option } from 'commander';
import { type Reach, type Services, connect } from './connection.ts';
import { exitCodes, usage } from './exit.ts';
import { defaultAddress } from './address.ts';

/** Options that every command takes. */
export interface GlobalOptions extends Reach {
  json?: boolean;
  project: string;
}

/** What a command works with. */
export interface Context {
  services: Services;
  /** Write proto JSON rather than tables. */
  json: boolean;
  /** `projects/<project>`. */
  project: string;
  /** Aborted by Ctrl-C; a second one ends the process. */
  interrupted: AbortSignal;
  address: string;
}

/** The options of every command. */
export function globalOptions(): Option[] {
  return [
    new Option('--address <host:port>', 'where the platform is').env('PAIRWISE_ADDRESS').default(defaultAddress),
    new Option('--token-file <file>', 'file with the bearer token').env('PAIRWISE_TOKEN_FILE'),
    new Option('--tls', "speak TLS, checked by the system's authorities"),
    new Option('--tls-ca <file>', 'speak TLS, checked by the authority in this PEM file').env('PAIRWISE_TLS_CA'),
    new Option('--project <id>', 'project that short names are of').default('default'),
    new Option('--json', 'write proto JSON, one object a line'),
  ];
}

function untilInterrupted(): AbortSignal {
  const controller = new AbortController();
  process.once('SIGINT', () => {
    controller.abort();
    process.once('SIGINT', () => process.exit(exitCodes.detached));
  });
  return controller.signal;
}

/**
 * Makes a command's action of a function that gets the context, the arguments and the options. It returns an exit code,
 * or nothing for success.
 */
export function action(
  // Arguments and options are as the command declares them, which only commander knows.
  work: (context: Context, ...rest: never[]) => Promise<number | undefined>,
): (this: Command, ...rest: unknown[]) => Promise<void> {
  return async function (this: Command, ...rest) {
    const { json = false, project, ...reach } = this.optsWithGlobals<GlobalOptions>();
    if (!/^[a-z0-9][a-z0-9-]*$/.test(project)) usage(`--project '${project}' is no id`);
    // Whoever reads the output may have heard enough, as `head` has.
    process.stdout.on('error', () => process.exit(exitCodes.succeeded));
    const services = connect(reach);
    try {
      const context = {
        services,
        json,
        project: `projects/${project}`,
        interrupted: untilInterrupted(),
        address: reach.address,
      };
      // Commander appends the command itself.
      process.exitCode = (await work(context, ...(rest.slice(0, -1) as never[]))) ?? exitCodes.succeeded;
    } finally {
      services.close();
    }
  };
}
