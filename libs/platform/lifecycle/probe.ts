import { accessSync, constants, mkdirSync, readFileSync } from 'node:fs';

const causes: Record<string, string> = {
  ENOENT: 'there is no such file',
  EACCES: 'this user may not',
  EPERM: 'this user may not',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of its path is not a folder',
  EEXIST: 'it is not a folder',
  EROFS: 'the file system is read-only',
};

/**
 * Says what is wrong with a path of the configuration: a file to read, or a folder to write to, which is made for this user
 * alone if it is missing. Undefined if nothing is.
 */
export function probe({ path, use }: { path: string; use: 'read' | 'write' }): string | undefined {
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
