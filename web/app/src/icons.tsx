import type { ReactNode } from 'react';

// Drawn on a grid of 24, with lines of 1.8.
const paths = {
  hash: 'M5 9h14M4 15h14M10 4 8 20M16 4l-2 16',
  lock: 'M7 11V8a5 5 0 0 1 10 0v3M6 11h12a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1H6a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1z',
  search: 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4',
  plus: 'M12 5v14M5 12h14',
  bell: 'M6 16V11a6 6 0 0 1 12 0v5l1.5 2h-15zM10 21h4',
  bellOff: 'M6 16V11a6 6 0 0 1 9-5.2M18 10.500V16l1.500 2H8M10 21h4M4 4l16 16',
  people: 'M9 11a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zM2.500 20a6.500 6.500 0 0 1 13 0M16 4.300a3.500 3.500 0 0 1 0 6.400M18 14.500A6.500 6.500 0 0 1 21.500 20',
  send: 'M4 12 20 4l-5 16-3.500-6.500zM11.500 13.500 20 4',
  smile: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM8.500 14.500a4.500 4.500 0 0 0 7 0M9 9.500h.01M15 9.500h.01',
  reply: 'M9 7 4 12l5 5M4 12h10a6 6 0 0 1 6 6v1',
  edit: 'M4 20h4L19 9l-4-4L4 16zM13.500 6.500l4 4',
  trash: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13',
  copy: 'M9 9h10v11H9zM5 15V4h10',
  link: 'M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-5.700-5.700L12 7M14 10a4 4 0 0 0-6-.5l-3 3a4 4 0 0 0 5.700 5.700L12 17',
  pin: 'M9 4h6l-1 6 3 3v2H7v-2l3-3zM12 15v6',
  dots: 'M5.500 12a.7.7 0 1 0 1.400 0 .7.7 0 1 0-1.400 0M11.300 12a.7.7 0 1 0 1.400 0 .7.7 0 1 0-1.400 0M17.100 12a.7.7 0 1 0 1.400 0 .7.7 0 1 0-1.400 0',
  close: 'M6 6l12 12M18 6 6 18',
  down: 'M12 5v14M6 13l6 6 6-6',
  left: 'M15 5l-7 7 7 7',
  clock: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7.500V12l3 2',
  check: 'M5 12.500l4.500 4.500L19 7',
  checks: 'M2 12.500 6.500 17 15 7.500M11 16l1 1L22 7',
  alert: 'M12 8v5M12 16.500h.01M10.300 4.300 2.800 17.500A2 2 0 0 0 4.500 20h15a2 2 0 0 0 1.700-2.500L13.700 4.300a2 2 0 0 0-3.400 0z',
  menu: 'M4 7h16M4 12h16M4 17h16',
  unread: 'M4 6h16v12H4zM4 7l8 6 8-6',
  code: 'M8 7l-5 5 5 5M16 7l5 5-5 5M13.500 5l-3 14',
  sun: 'M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.500 1.500M17.500 17.500 19 19M19 5l-1.500 1.500M6.500 17.500 5 19',
  moon: 'M20 14.500A8.500 8.500 0 0 1 9.500 4 8.500 8.500 0 1 0 20 14.500z',
  system: 'M3 5h18v12H3zM8 21h8M12 17v4',
  exit: 'M14 4h5v16h-5M4 12h11M11 8l4 4-4 4',
  keyboard: 'M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M7 14h10',
  message: 'M4 5h16v11H9l-5 4z',
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }): ReactNode {
  return (
    <svg className="icon" width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.8" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}
