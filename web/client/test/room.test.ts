// What a list shows of a room, whoever tells it and in which order.

import { expect, it } from 'vitest';
import fc from 'fast-check';
import { Room } from '../src/room.ts';
import type { ListedRoom, Message } from '../src/types.ts';

const message = (n: number, by = 'ben', more: Partial<Message> = {}): Message => ({
  id: `m${n}`, roomId: 'r', seq: n + 1, n, sender: { id: by, name: by }, content: `line ${n}`, type: 'text', createdAt: '2026-01-01T00:00:00Z', ...more,
});
const last = (n: number, by = 'ben') => ({ id: `m${n}`, sender: { id: by, name: by }, preview: `line ${n}`, type: 'text', createdAt: '2026-01-01T00:00:00Z' });
const listed = (n: number, marker: number, more: Partial<ListedRoom> = {}): ListedRoom => ({
  roomId: 'r', name: 'R', kind: 'public', role: 'member', seq: n + 1, n, unread: n - marker, mentions: 0, marker: { seq: marker && marker + 1, n: marker }, last: last(n), ...more,
});
const mention = { mentions: { users: ['ann'] } };

it('is the same in the end in any order of lists, activity, messages and mentions', () => {
  // Ten messages, of which the fourth and the eighth mention the user, who has read three.
  const tell: ((room: Room) => void)[] = [
    (room) => room.listed(listed(5, 3, { mentions: 1 })),
    (room) => room.listed(listed(9, 3, { mentions: 2 })),
    (room) => { if (room.at < 8) room.stands(8, 7, last(7)); },
    (room) => { if (room.at < 11) room.stands(11, 10, last(10)); },
    (room) => room.mentioned(message(4, 'ben', mention)),
    (room) => room.mentioned(message(8, 'ben', mention)),
    (room) => room.noticed(message(8, 'ben', mention)),
    (room) => room.noticed(message(10)),
  ];
  fc.assert(fc.property(fc.shuffledSubarray([...tell, ...tell], { minLength: 2 * tell.length }), (order) => {
    const room = new Room('r', 'ann');
    for (const one of order) one(room);
    expect([room.unread, room.mentions, room.last?.id, room.marker]).toEqual([7, 2, 'm10', 4]);
  }));
});

it('says nothing of what is unread before it is known what was read', () => {
  const room = new Room('r', 'ann');
  room.stands(40, 30, last(30));
  expect(room.unread).toBe(0);
  room.reached({ seq: 0, n: 25 }); // who came when there were 25
  expect(room.unread).toBe(5);
  room.reached({ seq: 0, n: 25 });
  room.read(40, 30);
  expect(room.unread).toBe(0);
});

it('is read by own messages, and unread again by a marker that goes back only', () => {
  const room = new Room('r', 'ann');
  room.listed(listed(6, 2, { mentions: 1 }));
  room.noticed(message(7, 'ann'));
  expect([room.unread, room.mentions]).toEqual([0, 0]);
  expect(room.marked({ seq: 3, n: 2, mentions: 1, at: 7 })).toBe(true);
  expect([room.unread, room.mentions]).toEqual([5, 1]);
  room.stands(9, 8, last(8));
  expect([room.unread, room.mentions]).toEqual([6, 1]);
  expect(room.marked({ seq: 9, n: 8, mentions: 0, at: 9 })).toBe(false);
  room.listed(listed(6, 2, { mentions: 1 })); // an old list
  expect([room.unread, room.mentions]).toEqual([0, 0]);
});
