// cli-progress ships no types; these cover what we use.
declare module 'cli-progress' {
  export interface FormatParams {
    progress: number;
    eta: number;
    value: number;
    total: number;
  }
  export interface Options {
    format: string | ((options: Options, params: FormatParams, payload: Record<string, string>) => string);
    stream?: NodeJS.WriteStream;
    fps?: number;
    hideCursor?: boolean;
    clearOnComplete?: boolean;
    linewrap?: boolean;
    gracefulExit?: boolean;
    etaBuffer?: number;
    noTTYOutput?: boolean;
  }
  export class SingleBar {
    constructor(options: Options);
    start(total: number, value: number, payload?: Record<string, string>): void;
    update(value: number, payload?: Record<string, string>): void;
    setTotal(total: number): void;
    stop(): void;
  }
  const progress: { SingleBar: typeof SingleBar };
  export default progress;
}
