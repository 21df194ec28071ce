import { createHash, randomBytes } from 'node:crypto';
import { Command, Option } from 'commander';
import { parseAccess, roles } from '@pairwise/config';
import { usage } from '../exit.ts';

const help = `
The token goes to standard output. Its entry for the access file (PAIRWISE_ACCESS_FILE), which holds only the token's
sha256, goes to standard error.

Example:
  $ pairwise access token ci --role submitter > ci.token`;

/** `pairwise access`. */
export function accessCommand(): Command {
  const access = new Command('access').description('manage who may call the platform');
  access
    .command('token')
    .description('create a random token and its entry for the access file')
    .argument('[name]', 'who the token is for', 'operator')
    .addOption(new Option('--role <role>', 'role of the token in the project').choices(roles).default('reader'))
    .option('--everywhere', 'grant the role in all projects, not only in --project')
    .addHelpText('after', help)
    .action(function (this: Command, name: string) {
      const options = this.optsWithGlobals<{ role: string; project: string; everywhere?: boolean }>();
      const token = randomBytes(32).toString('hex');
      const sha256 = createHash('sha256').update(token).digest('hex');
      const project = options.everywhere === true ? '*' : `projects/${options.project}`;
      const entry = JSON.stringify({ name, sha256, roles: { [project]: options.role } });
      try {
        parseAccess(`[${entry}]`, 'of these arguments');
      } catch (error) {
        usage((error as Error).message);
      }
      process.stdout.write(`${token}\n`);
      process.stderr.write(`${entry}\n`);
    });
  return access;
}
