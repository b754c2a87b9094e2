/* The arbiter's protocol once more, as docs/architecture.md describes it and with none of the code: a
   second opinion beside tests/policy/explorer/. What varies is chosen by init: the policy over three
   layers, as the truth table of a monotone function, and which layers work for whom. A layer that
   works is one object to all. run.sh verifies it.

   -DN=: processes. -DKILLS=: how many may be killed. -DFEW: three policies instead of all eighteen.
   -DLEAST=: the sets of layers that may work are those from this number to 7 (all).
   -DFIND: a double that the analysis predicts is an error too, to see that there is one. -DNO_VETO,
   -DNO_SETTLING, -DFREED_IS_FREE, -DSILENT_RELEASE, -DNO_ROLLBACK: a rule that is broken, which must
   be an error. */
#ifndef N
#define N 2
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef LEAST
#define LEAST 0
#endif
#define L 3

mtype = { candidate, established, releasing };              /* what a record says */
mtype = { arbitrating, unique, leaving, ended, dying, gone } /* how far a process is */

byte table;       /* bit s: the set s of layers meets the policy */
byte works[N];    /* the layers that work for a process */
mtype phase[N];
bool acts[N];     /* killed while it ran: it may still act */
bool decided[N];  /* it was the only instance, and cannot change its mind any more */
bool freed[N];    /* it is giving back, and has said so in every layer */
bool killed[N];
byte owner[L];    /* process + 1, or 0 */
byte writer[L];   /* of the record: process + 1, or 0 when it is gone or there is none */
mtype record[L];
bool ran;         /* somebody was the only instance */
byte kills;       /* that are still to come, if any */

#define Met(set) ((table >> (set)) & 1)
#define In(set, l) (((set) >> (l)) & 1)
#ifdef FREED_IS_FREE
#define IsFree(l) (owner[l] == 0)
#else
#define IsFree(l) (owner[l] == 0 && (writer[l] == 0 || phase[writer[l] - 1] != dying))
#endif
#ifdef NO_SETTLING
#define Refuses(l) (writer[l] != 0)
#else
#define Refuses(l) (writer[l] != 0 && record[l] == established && phase[writer[l] - 1] != dying)
#endif
#define Runs(p) (phase[p] == unique || acts[p])

inline Publish(what) {
  atomic { record[l] = what; writer[l] = me + 1 }
}

/* Whom a layer should have kept apart from this one does not run, nor may still act. */
inline CheckAlone() {
  i = 0;
  do
  :: i < N ->
#ifdef FIND
     assert(i == me || !Runs(i));
#else
     assert(i == me || !Runs(i) || (works[me] & works[i]) == 0);
#endif
     i++
  :: i == N -> break
  od
}

/* Says releasing in every held layer, then frees them in reverse. */
inline GiveBack() {
  l = 0;
  do
  :: l < L ->
     if
     :: In(held, l) ->
#ifndef SILENT_RELEASE
        Publish(releasing)
#else
        skip
#endif
     :: else
     fi;
     l++
  :: l == L -> break
  od;
  freed[me] = true;
  do
  :: l > 0 ->
     atomic {
       l--;
       if
#ifdef NO_ROLLBACK
       :: In(held, l) && l > 0 -> owner[l] = 0
#else
       :: In(held, l) -> owner[l] = 0
#endif
       :: else
       fi
     }
  :: l == 0 -> break
  od;
  assert(owner[0] != me + 1 && owner[1] != me + 1 && owner[2] != me + 1);
  phase[me] = ended
}

proctype Start(byte me) {
  byte l;
  byte i;
  byte held;
  bool refused;
  {
    do
    :: l == L -> break
    :: l < L && !In(works[me], l) -> l++
    :: atomic { l < L && In(works[me], l) && IsFree(l) ->
         owner[l] = me + 1; held = held | (1 << l) };
       Publish(candidate);
       l++
    /* Anybody else than an established holder is waited for. */
    :: atomic { l < L && In(works[me], l) && owner[l] != 0 && Refuses(l) ->
#ifdef NO_VETO
         l++ }
#else
         assert(decided[writer[l] - 1] && !freed[writer[l] - 1]);
         refused = true };
       break
#endif
    od;
    if
    :: refused -> phase[me] = leaving; GiveBack()
    :: !refused && !Met(held) ->
       assert(!Met(works[me]));
       phase[me] = leaving;
       GiveBack()
    :: !refused && Met(held) ->
       decided[me] = true;
       l = 0;
       do
       :: l < L ->
          if
          /* From here on others are refused, and rightly. */
          :: In(held, l) -> atomic { record[l] = established; writer[l] = me + 1; ran = true }
          :: else
          fi;
          l++
       :: l == L -> break
       od;
       atomic { phase[me] = unique; ran = true; CheckAlone() };
       if
       :: phase[me] = leaving; GiveBack()
       :: skip;
end_runs: false
       fi
    fi
  } unless { killed[me] };
  if
  :: killed[me] ->
     do
     :: owner[0] == me + 1 -> owner[0] = 0
     :: owner[1] == me + 1 -> owner[1] = 0
     :: owner[2] == me + 1 -> owner[2] = 0
     :: owner[0] != me + 1 && owner[1] != me + 1 && owner[2] != me + 1 -> break
     od;
     atomic {
       acts[me] = false;
       phase[me] = gone;
       l = 0;
       do
       :: l < L ->
          if
          :: writer[l] == me + 1 -> writer[l] = 0
          :: else
          fi;
          l++
       :: l == L -> break
       od
     }
  :: else
  fi
}

#define IsMortal(p) (phase[p] == arbitrating || phase[p] == unique || phase[p] == leaving)

inline Strike(p) {
  atomic {
    kills > 0 && IsMortal(p) ->
    acts[p] = (phase[p] == unique);
    phase[p] = dying;
    killed[p] = true;
    kills--
  }
}

proctype Kill() {
end_kill:
  do
  :: Strike(0)
  :: Strike(1)
#if N > 2
  :: Strike(2)
#endif
  od
}

#define Decided(p) (phase[p] == unique || phase[p] == ended || phase[p] == gone)
#define MayNotRun(p) (killed[p] || !Met(works[p]))

proctype CheckLost() {
end_check:
#if N == 2
  Decided(0) && Decided(1);
  assert(ran || (MayNotRun(0) && MayNotRun(1)))
#else
  Decided(0) && Decided(1) && Decided(2);
  assert(ran || (MayNotRun(0) && MayNotRun(1) && MayNotRun(2)))
#endif
}

init {
  byte p;
  byte some;
  atomic {
    if
    :: table = 128  /* all */
    :: table = 254  /* any */
    :: table = 232  /* two of three */
#ifndef FEW
    :: table = 136 :: table = 160 :: table = 192 :: table = 170 :: table = 204 :: table = 240
    :: table = 168 :: table = 200 :: table = 224 :: table = 234 :: table = 236 :: table = 248
    :: table = 238 :: table = 250 :: table = 252
#endif
    fi;
    /* Chosen in advance: a wait that only a kill can end is then seen as one without end. */
    select(kills : 0 .. KILLS);
    p = 0;
    do
    :: p < N -> select(some : LEAST .. 7); works[p] = some; phase[p] = arbitrating; p++
    :: p == N -> break
    od;
    p = 0;
    do
    :: p < N -> run Start(p); p++
    :: p == N -> break
    od;
    run Kill();
    run CheckLost()
  }
}
