import { accessSync, constants, mkdirSync, readFileSync } from 'node:fs';

const causes: Record<string, string> = {
  ENOENT: 'it does not exist',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of its path is not a folder',
  EEXIST: 'it is not a folder',
  EROFS: 'the file system is read-only',
};

/**
 * Returns what is wrong with a path in the configuration: a file to read or a folder to write to. Creates a missing
 * folder, for this user only. Returns undefined if the path can be used.
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
