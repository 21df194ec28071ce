import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const main = fileURLToPath(new URL('main.ts', import.meta.url));

// Nothing listens on port 1. Settings of a platform in the environment must not leak in.
function pairwise(...words: string[]) {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('PAIRWISE_'));
  const env = { ...Object.fromEntries(kept), PAIRWISE_ADDRESS: '127.0.0.1:1' };
  return spawnSync(process.execPath, [main, ...words], { env, encoding: 'utf8' });
}

test.each([
  [0, /^Usage: pairwise/, ['--help']],
  [2, /unknown command 'blah'/, ['blah']],
  [2, /unknown option '--foo'/, ['runs', 'create', '--foo']],
  [2, /give the spec with --file/, ['runs', 'create']],
  [2, /none\.jsonl cannot be read: ENOENT/, ['datasets', 'import', 'concise', 'none.jsonl']],
  [2, /'No_Id' is not a valid dataset name; use an id/, ['datasets', 'get', 'No_Id']],
  [2, /'nowhere' is not a valid address; it must be host:port/, ['up', '--listen', 'nowhere']],
  [2, /other machines can reach 0\.0\.0\.0:1: set PAIRWISE_TLS_CERT/, ['up', '--listen', '0.0.0.0:1']],
  [3, /nothing is listening at 127\.0\.0\.1:1; start the platform with 'pairwise up'/, ['runs', 'list']],
  [3, /nothing is listening at 127\.0\.0\.1:1/, ['doctor']],
  [3, /^\{"error":\{"reason":"UNAVAILABLE","message":"nothing is listening/, ['runs', 'list', '--json']],
])('code %i: %s', { timeout: 30_000 }, (code, text, words) => {
  const { status, stdout, stderr } = pairwise(...words);
  expect(stdout + stderr).toMatch(text);
  expect(status).toBe(code);
});

test('a reader that closes the pipe early is not an error', { timeout: 30_000 }, () => {
  const script = '"$0" "$1" up --help | true; exit "${PIPESTATUS[0]}"';
  const { status, stderr } = spawnSync('bash', ['-c', script, process.execPath, main], { encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(status).toBe(0);
});

test(
  'a token goes to standard output; its entry, without the token, goes to standard error',
  { timeout: 30_000 },
  () => {
    const { status, stdout, stderr } = pairwise('access', 'token', 'ci', '--role', 'submitter', '--project', 'one');
    expect(status).toBe(0);
    const token = stdout.trim();
    expect(token).toMatch(/^[0-9a-f]{64}$/);
    const sha256 = createHash('sha256').update(token).digest('hex');
    expect(JSON.parse(stderr)).toEqual({ name: 'ci', sha256, roles: { 'projects/one': 'submitter' } });
    expect(pairwise('access', 'token', 'a b').status).toBe(2);
    expect(pairwise('access', 'token', 'ci', '--role', 'owner').status).toBe(2);
  },
);
