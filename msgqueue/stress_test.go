package msgqueue_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/msgqueue"
)

// TestStressAccounting has eight producers push in every way while the queue is closed, shut down, or its loop closed, at
// a random moment, round after round with random bounds and budgets, while its function panics or ends its goroutine at times:
// what was accepted is what was delivered and returned, by number and by checksum, each producer's in its order.
//
// It runs a million messages. The environment variable EVMQ_STRESS sets another number: a release is preceded by
//
//	EVMQ_STRESS=100000000 go test -run TestStressAccounting -timeout 30m -v ./msgqueue
func TestStressAccounting(t *testing.T) {
	total := 1_000_000
	if s := os.Getenv("EVMQ_STRESS"); s != "" {
		n, err := strconv.Atoi(s)
		testkit.Must(t, err)
		total = n
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	start := time.Now()
	var sum tally
	rounds := 0
	for int(sum.accepted) < total && !t.Failed() {
		s := newStress(t, random)
		s.round()
		sum.add(s.tally)
		rounds++
	}
	took := time.Since(start)
	t.Logf("seed %d: %d rounds, %d messages accepted, %d delivered, %d returned, %d refusals, in %v (%v each)", seed, rounds,
		sum.accepted, sum.delivered, sum.returned, sum.refused, took.Round(time.Millisecond), took/time.Duration(max(1, sum.accepted)))
}

const stressProducers = 8

type tally struct{ accepted, delivered, returned, refused uint64 }

func (t *tally) add(o tally) {
	t.accepted += o.accepted
	t.delivered += o.delivered
	t.returned += o.returned
	t.refused += o.refused
}

// A testMessage says whose it is and which.
type testMessage struct {
	producer uint32
	n        uint64
}

// mix makes a number of a testMessage whose sum over many shows a testMessage that is lost, doubled or changed.
func (p testMessage) mix() uint64 {
	x := uint64(p.producer)<<56 ^ p.n
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// stress is one round: a loop, a queue, producers, and an end.
type stress struct {
	tally
	t      *testing.T
	random *rand.Rand
	loop   *event.Loop
	q      *msgqueue.Queue[testMessage]
	bound  int
	quota  int // of messages for each producer
	next   [stressProducers]uint64
	sum    uint64 // of what was delivered and returned
	wg     sync.WaitGroup

	mu   sync.Mutex // guards what the producers report
	want uint64     // of what was accepted
}

func newStress(t *testing.T, random *rand.Rand) *stress {
	l, err := event.NewLoop(nil) // closed by round, not at the end of the test: there are many
	testkit.Must(t, err)
	s := &stress{t: t, random: random, loop: l}
	bounds := []int{1, 2, 3, 7, 100, 513, 1024, 5000, math.MaxInt}
	s.bound = bounds[random.IntN(len(bounds))]
	budget := []int{1, 10, 0, 1000, math.MaxInt}[random.IntN(5)]
	s.quota = 1 << random.IntN(12)
	if s.bound < 100 { // each message may cost a wake, and on a thread that is blocked that takes a tenth of a millisecond
		s.quota = min(s.quota, 1<<8)
	}
	s.q, err = msgqueue.New(l, func(p testMessage) {
		s.delivered++
		s.outcome(p)
		switch rand.IntN(2000) { // the message is delivered all the same
		case 0:
			panic(errStress)
		case 1:
			runtime.Goexit()
		}
	}, &msgqueue.Config{Bound: s.bound, Budget: budget})
	testkit.Must(t, err)
	return s
}

// errStress is what the queue's function panics with at times.
var errStress = errors.New("panic of the stress test")

// run is RunForever, again and again, on a goroutine of its own each time, since the queue's function may end it.
func (s *stress) run(ctx context.Context) error {
	for {
		result := make(chan error, 1) // closed without a value where the function has ended the run
		go func() {
			defer close(result)
			defer func() {
				if v := recover(); v != nil && v != any(errStress) {
					panic(v)
				}
			}()
			result <- s.loop.RunForever(ctx)
		}()
		if err, returned := <-result; returned {
			return err
		}
	}
}

// outcome records the outcome of p. Delivered messages come before returned ones.
func (s *stress) outcome(p testMessage) {
	if s.next[p.producer] > p.n {
		s.t.Errorf("producer %d: %d came after %d", p.producer, p.n, s.next[p.producer]-1)
	}
	s.next[p.producer] = p.n + 1
	s.sum += p.mix()
}

func (s *stress) round() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- s.run(ctx) }()
	for p := range stressProducers {
		random := rand.New(rand.NewPCG(s.random.Uint64(), uint64(p)))
		s.wg.Go(func() { s.produce(uint32(p), random) })
	}
	var left []testMessage
	wait := time.Duration(s.random.IntN(3000)) * time.Microsecond
	kind := s.random.IntN(6)
	switch kind {
	case 0: // all is pushed and delivered
		testkit.Within(s.t, "end of the producers", s.wg.Wait)
	case 1, 2:
		time.Sleep(wait)
	}
	switch kind {
	case 0, 1, 3:
		var err error
		patient := time.Duration(1+s.random.IntN(2000)) * time.Microsecond
		if kind == 0 {
			patient = testkit.Patience
		}
		c, cancel := context.WithTimeout(context.Background(), patient)
		left, err = s.q.Shutdown(c)
		cancel()
		if len(left) > 0 && err == nil || err != nil && (kind == 0 || !errors.Is(err, context.DeadlineExceeded)) {
			s.t.Errorf("Shutdown: %d left, %v", len(left), err)
		}
	case 2, 4:
		left = s.q.Close()
	case 5:
		time.Sleep(wait)
		testkit.Must(s.t, s.loop.Close())
	}
	testkit.Within(s.t, "end of the producers", s.wg.Wait)
	cancel()
	if err := testkit.Await(s.t, ran, "end of the loop"); !errors.Is(err, context.Canceled) && !errors.Is(err, event.ErrClosed) {
		s.t.Errorf("RunForever: %v", err)
	}
	left = append(left, s.q.Close()...)
	testkit.Must(s.t, s.loop.Close())
	for _, p := range left {
		s.returned++
		s.outcome(p)
	}
	s.check()
}

// produce pushes in every way until its quota is used up or the queue is closed. A number that was refused is not used
// again, so that a message accepted in spite of its refusal is seen.
func (s *stress) produce(producer uint32, random *rand.Rand) {
	var accepted, refused, sum uint64
	batch := make([]testMessage, 0, 64)
	n := uint64(0)
	for left := s.quota; left > 0; {
		batch = batch[:0]
		var err error
		switch k := random.IntN(8); {
		case k == 0:
			for range 1 + random.IntN(min(cap(batch), s.bound)) {
				batch = append(batch, testMessage{producer, n})
				n++
			}
			err = s.q.PushBatch(batch)
		case k < 3:
			batch = append(batch, testMessage{producer, n})
			n++
			err = s.pushContext(batch[0], random)
		default:
			batch = append(batch, testMessage{producer, n})
			n++
			err = s.q.Push(batch[0])
		}
		switch {
		case err == nil:
			accepted += uint64(len(batch))
			left -= len(batch)
			for _, p := range batch {
				sum += p.mix()
			}
		case errors.Is(err, msgqueue.ErrClosed):
			left = 0
		case errors.Is(err, msgqueue.ErrFull), errors.Is(err, context.Canceled):
			refused += uint64(len(batch))
			runtime.Gosched()
		default:
			s.t.Errorf("producer %d: %v", producer, err)
			left = 0
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted += accepted
	s.refused += refused
	s.want += sum
}

// pushContext waits, sometimes with a context that ends meanwhile.
func (s *stress) pushContext(p testMessage, random *rand.Rand) error {
	if random.IntN(16) > 0 {
		return s.q.PushContext(context.Background(), p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	spins := random.IntN(10)
	s.wg.Go(func() {
		for range spins {
			runtime.Gosched()
		}
		cancel()
	})
	return s.q.PushContext(ctx, p)
}

// check compares the accounts, when nothing runs any more.
func (s *stress) check() {
	if s.accepted != s.delivered+s.returned {
		s.t.Errorf("bound %d: accepted %d, delivered %d, returned %d", s.bound, s.accepted, s.delivered, s.returned)
	}
	if s.sum != s.want {
		s.t.Errorf("bound %d: the checksums differ: a message was lost, doubled or changed", s.bound)
	}
	st := account(s.t, s.q)
	if st.Pushed != s.accepted || st.Delivered != s.delivered || st.Returned != s.returned || st.Refused != s.refused || st.Len != 0 {
		s.t.Errorf("stats %+v; accepted %d, delivered %d, returned %d, refused %d", st, s.accepted, s.delivered, s.returned, s.refused)
	}
}
