import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Push, PushArtifactRequest, PushState } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { hasEnded } from '@pairwise/rpc';
import { Command } from 'commander';
import { type Context, action } from '../context.ts';
import { exitCodes, failureOf, usage } from '../exit.ts';
import { fields, formatBytes, paint, say, sayJson } from '../output.ts';
import { byteMeter } from '../progress.ts';
import { artifactsOf, idOf, refuseArtifact } from './runArtifacts.ts';

const pollMs = 300;

interface PushOptions {
  repo: string;
  public?: boolean;
  revision?: string;
  message?: string;
}

/** `pairwise artifacts push`. */
export function pushCommand(): Command {
  return new Command('push')
    .description('push an artifact to a repository on the Hugging Face hub')
    .argument('<artifact>', '<run>/<artifact>, or its full name')
    .requiredOption('--repo <owner/name>', 'the repository; it is created if it does not exist')
    .option('--public', 'the repository is public. Default: it is private')
    .option('--revision <branch>', 'the branch; it is created if it does not exist. Default: main')
    .option('--message <text>', "the commit's message. Default: chosen by the server")
    .addHelpText(
      'after',
      `
The server pushes with its own HF_TOKEN, to the owners that its operator lists in PAIRWISE_HUB_PUSH_NAMESPACES. Files that
the hub has are not uploaded again, so the same command resumes a push that failed. Ctrl-C does not stop the push.

Examples:
  $ pairwise artifacts push run-1a2b3c4d/merged --repo my-org/my-model
  $ pairwise artifacts push run-1a2b3c4d/gguf-q4-k-m --repo my-org/my-model-GGUF --public`,
    )
    .action(action(pushArtifact));
}

async function pushArtifact(context: Context, text: string, options: PushOptions): Promise<number> {
  const { services, json } = context;
  const request = PushArtifactRequest.create({
    name: await artifactName(context, text),
    repoId: options.repo,
    private: options.public !== true,
    revision: options.revision,
    commitMessage: options.message ?? '',
    requestId: randomUUID(),
  });
  const { push: started } = await services.export.pushArtifact(request);
  const push = await follow(context, started!);
  if (push === undefined) {
    process.stderr.write('\nThe push continues; the same command follows it.\n');
    return exitCodes.detached;
  }
  if (json) sayJson(Push.toJSON(push));
  if (push.state === PushState.FAILED) throw failureOf(push.error);
  if (push.state === PushState.CANCELLED) throw new PairwiseError('CANCELLED', 'the push was cancelled');
  if (!json) print(push);
  return exitCodes.succeeded;
}

async function artifactName(context: Context, text: string): Promise<string> {
  if (/^projects\/[^/]+\/exports\/[^/]+\/artifacts\/[^/]+$/.test(text)) return text;
  const [, runText, id] = /^(.+)\/([^/]+)$/.exec(text) ?? [];
  if (runText === undefined) usage(`'${text}' does not name an artifact; use <run>/<artifact>`);
  const { run, artifacts } = await artifactsOf(context, runText);
  const found = artifacts.find((artifact) => idOf(artifact) === id);
  return found === undefined ? refuseArtifact(run, id!, artifacts, context) : found.name;
}

/** Follows a push to its end. Undefined if the user interrupted. */
async function follow({ services, interrupted }: Context, started: Push): Promise<Push | undefined> {
  const meter = byteMeter(started.repoId, Number(started.totalSizeBytes));
  try {
    for (let push = started; ; push = (await services.export.getPush({ name: push.name })).push!) {
      meter.update(Number(push.pushedSizeBytes));
      if (hasEnded(PushState, push)) return push;
      await sleep(pollMs, undefined, { signal: interrupted });
    }
  } catch (error) {
    if (interrupted.aborted) return undefined;
    throw error;
  } finally {
    meter.stop();
  }
}

function print({ repoId, revision, commit, totalSizeBytes, url }: Push): void {
  say(`${paint('green', '✔')} ${repoId}`);
  const pairs = [
    ['branch', revision],
    ['commit', commit],
    ['size', formatBytes(totalSizeBytes)],
    ['url', url],
  ] as const;
  say(fields(pairs));
}
