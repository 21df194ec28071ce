import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { readSafetensors } from '@pairwise/safetensors';
import { tinyPairs, writeTinyModel } from '@pairwise/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestPlatform, temporaryFolder, type TestPlatform } from './platform.ts';

// The programs of clients/, as a user of each language runs them: with stubs that are generated from proto/.

const clients = resolve(import.meta.dirname, '../../../clients');
const { folder, remove } = temporaryFolder();
let platform: TestPlatform;

beforeAll(async () => {
  platform = await startTestPlatform(folder);
  writeTinyModel(join(folder, 'model'));
  writeFileSync(join(folder, 'pairs.jsonl'), tinyPairs(64));
});
afterAll(async () => {
  await platform.stop();
  remove();
});

type Command = readonly [program: string, ...args: string[]];

const run = async ([program, ...args]: Command, bin?: string) => {
  const path = bin === undefined ? process.env['PATH'] : `${bin}${delimiter}${process.env['PATH']}`;
  await promisify(execFile)(program, args, { cwd: clients, env: { ...process.env, PATH: path } });
};

/** Each prepares a program and returns the command that runs it. `needs` succeeds where the language's tools are present. */
const languages: Record<string, { needs?: Command; prepare: () => Promise<Command> }> = {
  Python: {
    needs: ['python3', '-c', 'import ensurepip, venv'],
    prepare: async () => {
      const bin = join(folder, 'venv', 'bin');
      await run(['python3', '-m', 'venv', join(folder, 'venv')]);
      await run([join(bin, 'pip'), 'install', '--quiet', '-r', 'python/requirements.txt']);
      await run(['python/generate.sh'], bin);
      return [join(bin, 'python'), 'python/tune.py'];
    },
  },
  Go: {
    needs: ['go', 'version'],
    prepare: async () => {
      await run(['go/generate.sh']);
      await run(['go', '-C', 'go', 'build', '-o', join(folder, 'tune'), './tune']);
      return [join(folder, 'tune')];
    },
  },
  TypeScript: {
    prepare: async () => {
      await run(['typescript/generate.sh']);
      await run([join(clients, '../node_modules/.bin/tsc'), '-p', 'typescript']);
      return [process.execPath, 'typescript/tune.ts'];
    },
  },
};

for (const [language, { needs, prepare }] of Object.entries(languages)) {
  const isMissing = needs !== undefined && spawnSync(needs[0], needs.slice(1)).status !== 0;
  test.skipIf(isMissing)(
    `a program in ${language} trains a model, although the watch breaks (skipped without ${language})`,
    async () => {
      const [command, ...first] = await prepare();
      const target = join(folder, language);
      const inputs = [platform.platform.address, join(folder, 'pairs.jsonl'), `file://${folder}/model`, target];
      const child = spawn(command, [...first, ...inputs], {
        cwd: clients,
        env: { ...process.env, FORCE_COLOR: '0' },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const exited = once(child, 'exit');
      const lines: string[] = [];
      for await (const line of createInterface({ input: child.stdout })) {
        lines.push(line);
        const isFirstEvent = lines.filter((each) => each.startsWith('event')).length === 1;
        if (isFirstEvent && line.startsWith('event')) process.kill(platform.platform.pid('orchestrator')!, 'SIGKILL');
      }
      expect(await exited, lines.join('\n')).toEqual([0, null]);
      expect(lines[0]).toBe('refused INVALID_ARGUMENT parent');
      expect(lines).toContain('resuming');
      const steps = lines.filter((line) => line.startsWith('loss')).map((line) => line.split(' ')[1]);
      expect(steps).toEqual(['1', '2', '3', '4']);
      expect(Number(lines.find((line) => line.startsWith('loss 1'))!.split(' ')[2])).toBeCloseTo(Math.LN2, 5);
      expect(lines).toContain('downloaded adapter_model.safetensors');
      expect(readSafetensors(readFileSync(join(target, 'adapter_model.safetensors'))).size).toBeGreaterThan(0);
    },
    240_000,
  );
}
