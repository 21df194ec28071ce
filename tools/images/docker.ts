import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

/** Runs a program and returns its trimmed output. Throws with the end of the output if it fails. */
export async function run(program: string, args: readonly string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'close') as Promise<[number | null]>;
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (code === 0) return output.trim();
  const last = `${output}\n${errors}`.trim().split('\n').slice(-20).join('\n');
  throw new Error(`${program} ${args.join(' ')} ended with code ${code}:\n${last}`);
}

export const docker = (...args: readonly string[]) => run('docker', args);

/** Whether a Docker daemon is running. */
export const dockerIsRunning = () =>
  docker('version').then(
    () => true,
    () => false,
  );

/** Whether the daemon has an image. */
export const hasImage = (name: string) =>
  docker('image', 'inspect', name).then(
    () => true,
    () => false,
  );
