import { accessSync, constants, mkdirSync, readFileSync } from 'node:fs';

const causes: Record<string, string> = {
  ENOENT: 'there is no such file',
  EACCES: 'this user may not',
  EPERM: 'this user may not',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of its path is no folder',
  EEXIST: 'it is no folder',
  EROFS: 'the file system is read-only',
};

/**
 * Tells what is wrong with a place that the configuration names: a file that is to be read, or a folder in which is to be
 * written and which is made if it is missing, for this user alone. Undefined where it can be used.
 */
export function lookAt({ path, use }: { path: string; use: 'read' | 'write' }): string | undefined {
  try {
    if (use === 'read') {
      readFileSync(path);
    } else {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
    }
    return undefined;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    return `names ${path}, which cannot be ${use === 'read' ? 'read' : 'written to'}: ${causes[code] ?? code}`;
  }
}
