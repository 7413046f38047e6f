import type { Fact, Message } from './types.ts';

/** An event's argument, before anything is believed of it. */
export type Wire = Record<string, unknown> & { roomId?: string; seq?: number; messageId?: string };

/** The fact that an event tells about a message; undefined for other events. */
export function factOf(event: string, arg: Wire): Fact | undefined {
  const { roomId = '', seq = 0, messageId = '' } = arg;
  switch (event) {
    case 'message:edited': {
      const message = arg.message as Message | undefined;
      return message && { kind: 'message', message: { ...message, changed: Math.max(message.changed ?? message.seq, seq) } };
    }
    case 'message:deleted':
      return { kind: 'deleted', roomId, seq, messageId, by: arg.by as string | undefined, at: arg.deletedAt as string | undefined };
    case 'message:reactions':
      return { kind: 'reactions', roomId, seq, messageId, changes: arg.changes as never, counts: (arg.counts ?? []) as never };
    case 'message:pinned': case 'message:unpinned':
      return { kind: 'pinned', roomId, seq, messageId, on: event === 'message:pinned', at: arg.pinnedAt as string | undefined };
    default: return undefined;
  }
}
