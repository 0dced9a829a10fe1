/* SPDX-License-Identifier: MIT */
/*
 * park.pml - the ring and the park beside it (runtime/queue), as a model for Spin.
 *
 * Producers push entries into rings of one entry, one ring for each producer and consumer. The
 * consumers share a park; a producer whose ring is full sleeps beside a park of its own until there is
 * room. So each is a sleeper and a waker. A wake-up that is lost leaves somebody asleep for good: Spin
 * looks at every order of steps, and finds either a producer that never ends or entries that nobody
 * took. No wait has a deadline here, for a deadline would hide it.
 *
 * The machine is x86: a store waits in its processor's buffer, in order, while later loads go ahead.
 * A read-modify-write waits until the buffer is empty. A step is one access to what threads share.
 *
 * MISTAKE is 0 for the protocol as it is; each other number is a way of writing it that looks right
 * and is not, and Spin must find that out. park.sh runs them all.
 */
#ifndef MISTAKE
#define MISTAKE 0
#endif

#define NO_FENCE_IN_WAKE 1    /* the waker only loads the flag */
#define NO_FENCE_IN_PREPARE 2 /* the sleeper only stores the flag */
#define TICKET_LATE 3         /* the epoch is read after the flag is put up */
#define CANCEL_TAKES_FLAG 4   /* whoever finds work takes the flag down, with others asleep behind it */
#define FLAG_CLEARED_LATE 5   /* the flag is taken down after the wake-up, not before */
#define EPOCH_UNLOCKED 6      /* the epoch moves without the mutex */
#define WAKES_ONE 7           /* signal instead of broadcast */
#define ENTRY_AFTER_TAIL 8    /* the ring's tail moves before the entry is written */
#define NO_WAKE_FOR_ROOM 9    /* nobody wakes a producer whose ring was full */

/* The shape: one or two of each. */
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
/* Of each producer. */
#ifndef ENTRIES
#define ENTRIES 1
#endif

#define THREADS (PRODUCERS + CONSUMERS)
#define PARKS (1 + PRODUCERS)
#define RINGS (PRODUCERS * CONSUMERS)
#define RING(producer, consumer) ((producer) * CONSUMERS + (consumer) - PRODUCERS)

/* Where things are in memory. */
#define FLAG(park) (park)
#define TAIL(ring) (PARKS + (ring))
#define HEAD(ring) (PARKS + RINGS + (ring))
#define ENTRY(ring) (PARKS + 2 * RINGS + (ring))
#define MEMORY (PARKS + 3 * RINGS)

byte memory[MEMORY];
chan buffer[THREADS] = [2] of {byte, byte}; /* address, value */

byte epoch[PARKS];
bool locked[PARKS];
bool asleep[THREADS];
byte beside[THREADS]; /* the park that a sleeper sleeps beside */
byte taken;

/* Stores reach memory when they like. */
active proctype buffers()
{
	byte address, value;

end:	do
	:: d_step { buffer[0]?address,value -> memory[address] = value; address = 0; value = 0 }
	:: d_step { buffer[1]?address,value -> memory[address] = value; address = 0; value = 0 }
#if THREADS > 2
	:: d_step { buffer[2]?address,value -> memory[address] = value; address = 0; value = 0 }
#endif
#if THREADS > 3
	:: d_step { buffer[3]?address,value -> memory[address] = value; address = 0; value = 0 }
#endif
	od
}

/* ---- the park: as park.c has it --------------------------------------------------------------- */

/* A read-modify-write can go ahead. */
#define FENCED empty(buffer[me])

#if MISTAKE == NO_FENCE_IN_PREPARE
#define PUT_FLAG_UP(park) buffer[me]!FLAG(park),1
#else
#define PUT_FLAG_UP(park) d_step { FENCED -> memory[FLAG(park)] = 1 }
#endif

inline prepare(park)
{
#if MISTAKE == TICKET_LATE
	PUT_FLAG_UP(park);
	ticket = epoch[park]
#else
	ticket = epoch[park];
	PUT_FLAG_UP(park)
#endif
}

inline cancel(park)
{
#if MISTAKE == CANCEL_TAKES_FLAG
	d_step { FENCED -> memory[FLAG(park)] = 0 };
#endif
	ticket = 0
}

/* `label`: where a consumer may stand when all is done. */
#define WAIT(park, label)                                                                          \
	d_step { FENCED && !locked[park] -> locked[park] = true };                                 \
	do                                                                                         \
	:: atomic { epoch[park] != ticket -> locked[park] = false; ticket = 0; break }             \
	:: epoch[park] == ticket ->                                                                \
		atomic { locked[park] = false; beside[me] = park; asleep[me] = true };             \
	   label atomic { !asleep[me] && !locked[park] -> locked[park] = true }                    \
	od

inline wake_sleepers(park)
{
	i = 0;
	do
	:: i < THREADS && asleep[i] && beside[i] == park ->
		asleep[i] = false;
		beside[i] = 0;
#if MISTAKE == WAKES_ONE
		break
#else
		i++
#endif
	:: i < THREADS && !(asleep[i] && beside[i] == park) -> i++
	:: i >= THREADS -> break
	od;
	i = 0
}

inline wake(park)
{
	/* Looks at the flag, then takes it down. */
#if MISTAKE == NO_FENCE_IN_WAKE
	flag = memory[FLAG(park)];
#else
	d_step { FENCED -> flag = memory[FLAG(park)] };
#endif
	if
	:: flag ->
#if MISTAKE != FLAG_CLEARED_LATE
		d_step { FENCED -> flag = memory[FLAG(park)]; memory[FLAG(park)] = 0 };
#endif
		if
		:: flag ->
#if MISTAKE == EPOCH_UNLOCKED
			epoch[park]++;
			d_step { wake_sleepers(park) };
#else
			d_step { FENCED && !locked[park] -> locked[park] = true };
			d_step { epoch[park]++; locked[park] = false };
			/* Not under the mutex: somebody may look, and go to sleep, in between. */
			d_step { wake_sleepers(park) };
#endif
#if MISTAKE == FLAG_CLEARED_LATE
			d_step { FENCED -> memory[FLAG(park)] = 0 };
#endif
			flag = 0
		:: else
		fi
	:: else
	fi
}

/* ---- who uses it ------------------------------------------------------------------------------ */

proctype producer(byte me)
{
	byte pushed[CONSUMERS];
	byte left = ENTRIES, to, ticket, flag, i;

	do
	:: left == 0 -> break
	:: left > 0 ->
		/* An entry may be for anybody. */
		if
		:: to = PRODUCERS
#if CONSUMERS > 1
		:: to = PRODUCERS + 1
#endif
		fi;
		do
		:: prepare(1 + me);
			if
			:: memory[HEAD(RING(me, to))] == pushed[to - PRODUCERS] -> break
			:: else -> WAIT(1 + me, )
			fi
		od;
		cancel(1 + me);
		pushed[to - PRODUCERS]++;
#if MISTAKE == ENTRY_AFTER_TAIL
		buffer[me]!TAIL(RING(me, to)),pushed[to - PRODUCERS];
		buffer[me]!ENTRY(RING(me, to)),pushed[to - PRODUCERS];
#else
		buffer[me]!ENTRY(RING(me, to)),pushed[to - PRODUCERS];
		buffer[me]!TAIL(RING(me, to)),pushed[to - PRODUCERS];
#endif
		wake(0);
		to = 0;
		left--
	od
}

proctype consumer(byte me)
{
	byte popped[PRODUCERS];
	byte from, ticket, flag, i;

	do
	:: prepare(0);
		if
		:: memory[TAIL(RING(0, me))] != popped[0] -> from = 0
		:: else ->
#if PRODUCERS > 1
			if
			:: memory[TAIL(RING(1, me))] != popped[1] -> from = 1
			:: else -> from = PRODUCERS
			fi
#else
			from = PRODUCERS
#endif
		fi;
		if
		:: from < PRODUCERS ->
			cancel(0);
			popped[from]++;
			/* Seen whole, and in order. */
			assert(memory[ENTRY(RING(from, me))] == popped[from]);
			taken++;
			buffer[me]!HEAD(RING(from, me)),popped[from];
#if MISTAKE != NO_WAKE_FOR_ROOM
			wake(1 + from)
#endif
		:: else ->
			from = 0;
			WAIT(0, end:)
		fi;
		from = 0
	od
}

init {
	byte n;

	atomic {
		for (n : 0 .. PRODUCERS - 1) {
			run producer(n)
		}
		for (n : PRODUCERS .. THREADS - 1) {
			run consumer(n)
		}
	}
	/* Nobody can go on: then everything has been done. */
	timeout -> assert(taken == PRODUCERS * ENTRIES)
}
