// Every bound of the client, with its reason. Times are in milliseconds.

/** Rooms in one subscribe frame: the most that the server takes. */
export const SUBSCRIBE_ROOMS_MAX = 200;
/** Rooms in one answer of the room list: the most that the server gives. */
export const LIST_MAX = 200;
/** Pages of the room list that are read: 5,000 rooms, which is what a session may follow. */
export const LIST_PAGES_MAX = 25;
/** Events in one page that fills a gap: the most that the server gives. */
export const LOG_PAGE = 200;
/** Messages in the page that brings what is read up to date after a long gap: screens to both sides, the most that the server gives. */
export const AROUND_PAGE = LOG_PAGE;
/** Messages in one page that is shown: about three screens. */
export const SHOWN_PAGE = 60;
/** In the first page, so many before the first unread one, and so many in all at most. */
export const SHOWN_BEFORE_UNREAD = 30;
export const SHOWN_FIRST_MAX = 200;
/** Messages that were fetched one by one, for quotes and mentions. */
export const PEEKED_MAX = 200;
/** Changes on the wire at once: half of what the server admits for a session. */
export const IN_FLIGHT_MAX = 32;
/** A longer gap is not filled event by event: the room starts anew from its end. */
export const GAP_EVENTS_MAX = 1_000;
/** Recent events of an open room, for pages that are a little older than what was heard live. */
export const RECENT_EVENTS_MAX = 512;
/**
 * Items of an open room; over it those farthest from the reader are let go of, down to ITEMS_KEPT. What is drawn is a
 * few dozen rows, but every row has a height, and every arrival walks over all of them: that is to stay within a
 * frame. What is kept is some 1,500 to each side of the reader, far more than one scrolls before a page comes.
 */
export const ITEMS_MAX = 4_000;
export const ITEMS_KEPT = 3_000;
/** Rooms whose messages are kept; those of the others are read again when they are opened. */
export const OPEN_ROOMS_MAX = 12;
/** Unread messages of a room that are told apart. The server counts up to 100. */
export const UNREAD_MAX = 100;
export const UNREAD_KEPT = 1_000;
/** Names that a message mentions: the first ones, as on the server. */
export const MENTIONS_MAX = 20;
/** The longest name that somebody has. */
export const USERNAME_MAX = 50;
/** Profiles that are held, unless more people are in view, and names on disk: as many as one sees in a day, and half a megabyte at most. */
export const PEOPLE_MAX = 2_000;
/** Profiles in one answer: the most that the server gives. */
export const PEOPLE_BATCH = 100;
/** A jump to an older message loads everything between when it is at most this far away. */
export const JUMP_EVENTS_MAX = 400;

/** From the first packet to the welcome. */
export const CONNECT_WAIT = 12_000;
/** An answer later than this means that the socket is dead: above the server's own 12 s. */
export const ANSWER_WAIT = 15_000;
/** An HTTP exchange. */
export const HTTP_WAIT = 30_000;
/**
 * The lock of the sign-in is waited for so long: more than an exchange of the window that has it, so that one that is
 * only slow is waited for, and one that the browser stopped is not.
 */
export const RENEW_LOCK_WAIT = HTTP_WAIT + 5_000;
/** An answer later than this, on a socket that says nothing else, has the server asked for a sign of life. */
export const LIFE_AFTER = 2_000;
/** How long a sign of life may take: mobile networks can stand still for some seconds. */
export const LIFE_WAIT = 6_000;
/** A timer that fires this much too late: the machine or the page slept, and what waits was not heard yet. */
export const SLEPT = 2_000;

/** Back-off between sockets: full jitter under a doubling bound. A crowd that loses its node is spread over the first. */
export const BACK_OFF_FIRST = 1_000;
export const BACK_OFF_MAX = 30_000;
/** What clients are spread over after the time that a server names. */
export const RETRY_SPREAD = 500;
/** After a close that was this client's fault. */
export const FAULT_PAUSE = 5_000;
/** The longest delay of the server that is honoured, so that a wrong one does not silence a client. */
export const RETRY_AFTER_MAX = 120_000;
/** Pause before a refused request is made again, when the refusal names none. */
export const RETRY_WAIT = 500;
/** A request at which the server fails by a defect of its own is made so often before who waits hears of it. */
export const INTERNAL_TRIES = 3;
/** A page or summary that is older than what was heard live is asked for again so often. */
export const STALE_TRIES = 20;

/** Read marks are gathered so long. */
export const READ_GATHER = 300;
/** A read mark that is refused for good is tried again so often for a room on one socket. */
export const REFUSALS_MAX = 3;
/** Summaries and lists that became uncertain are read again after so long, once for all reasons. */
export const REFRESH_GATHER = 250;
/** Lists that many events change one after the other (members, pins) are read so often at least. */
export const REFRESH_GATHER_MAX = 4_000;
/** Profiles of people who come into view are gathered so long. */
export const PEOPLE_GATHER = 50;
/** A profile that is older is asked for again when it is shown again. */
export const PEOPLE_FRESH = 5 * 60_000;
/** After a node's end all its pages come to others in the same moment: their old profiles are asked for over so long. */
export const PEOPLE_SPREAD = 10_000;
/** Asking for profiles is tried so often in a row; then again when somebody comes into view. */
export const PEOPLE_TRIES = 6;
/** Typing is said at most so often for a room. */
export const TYPING_EVERY = 3_000;
/** Somebody who was heard typing is not any more after this. */
export const TYPING_FOR = 6_000;
/** The list is read without a socket after this, so that a page whose socket is blocked shows something. */
export const LIST_WITHOUT_SOCKET = 3_000;
/** Users whose presence is watched: the most that the server takes. */
export const WATCH_USERS_MAX = 200;

/** Opening a database, or taking a lease in it; one that does not answer by then is as good as none until it is asked again. */
export const DISK_WAIT = 3_000;
/** A change that is not on disk by then goes on the wire all the same. */
export const STORE_WAIT = 1_000;
/** The disk is looked at so often for what a window left behind that ended before it told of it. Rare, and a small read. */
export const OUTBOX_LOOK = 20_000;
/** Taking over what a window left behind is tried so often, so far apart; then it is taken over without the disk. */
export const ADOPT_TRIES = 3;
export const ADOPT_PAUSE = 1_000;
/** What was not on disk is taken over after this, so that the word of an earlier heir comes first. */
export const HEIR_WAIT = 500;
/** A lease (where the browser has no locks) that is not renewed for so long is free. */
export const LEASE = 15_000;
/** So long before that its holder counts it as lost: clocks of pages are coarse, and an act takes a while. */
export const LEASE_MARGIN = 3_000;
export const LEASE_RENEW = 4_000;
export const LEASE_POLL = 1_000;
/** After so many failures of the database in a row, LEASE_POLL apart, there are no leases; one may pass. */
export const LEASE_TRIES = 5;
/** Where windows agree by a word in their memory: how long the word of one counts, and how long it is seen whether it stands. */
export const WORD = LEASE;
export const WORD_POLL = 500;
export const WORD_STANDS = 50;
