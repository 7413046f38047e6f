import type { MemberRole, Role } from '@starling/client';

/** Roles that one member gives another, the highest first. */
export const roles: readonly Role[] = ['owner', 'moderator', 'member'];

/** What a role may do, compared with others: guests may do what members may. */
export const rank: Readonly<Record<MemberRole, number>> = { guest: 0, member: 0, moderator: 1, owner: 2 };
