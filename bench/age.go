package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/timmy-tower/timmy/db"
)

const (
	// youngAge is how many requests young books have had.
	youngAge = 10_000
	// ageRounds is how often young and old books are measured in turns.
	ageRounds = 3
	// listed is how many lines a person is shown.
	listed = 20
)

// aged are books of an age, and what was measured of them.
type aged struct {
	*books
	place                  string
	had                    int
	requests, lists, start result
}

// ages is what books take that have had so many requests, in turns with young ones.
type ages struct {
	old     int
	dialect db.Dialect
}

func (a ages) bench(w io.Writer, d time.Duration) (goals []goal, err error) {
	list, stop, err := stores()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	at := slices.IndexFunc(list, func(s *store) bool { return s.dialect == a.dialect })
	if at < 0 {
		return nil, fmt.Errorf("%s is not installed", a.dialect)
	}
	return list[at].benchAge(w, d, a.old)
}

func (s *store) benchAge(w io.Writer, d time.Duration, had int) (goals []goal, err error) {
	both := []*aged{{had: youngAge}, {had: had}}
	for i, a := range both {
		if err := a.fill(s, i); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, a.stop()) }()
	}
	for round := range ageRounds {
		for _, a := range both {
			if err := a.measure(s, len(both)+round, d); err != nil {
				return nil, err
			}
		}
	}
	for _, a := range both {
		for _, r := range []result{a.requests, a.lists, a.start} {
			fmt.Fprintln(w, r.row())
		}
	}
	young, old, name := both[0], both[1], s.dialect.String()
	return []goal{
		{name + ": requests per second, old books ÷ young", old.requests.rate() / young.requests.rate(), .8, true},
		{name + ": p50 of lists, old books ÷ young", ratio(old.lists.at(.5), young.lists.at(.5)), 1.5, false},
		{name + ": opening the books, old ÷ young", ratio(old.start.at(.5), young.start.at(.5)), 2, false},
	}, nil
}

// fill makes the books by that many requests. Their chain is checked, as a tower does
// every ten minutes.
func (a *aged) fill(s *store, row int) (err error) {
	if a.place, err = s.place(); err != nil {
		return err
	}
	if a.books, err = s.openBooks(a.place, goalCallers); err != nil {
		return err
	}
	r := measure("", goalCallers, a.had/goalCallers, time.Hour, ids(row, a.request))
	a.settle(&r)
	_, err = a.VerifyTail(context.Background())
	return errors.Join(r.err, err)
}

// measure adds a round: requests, lists, and a stop and a start.
func (a *aged) measure(s *store, row int, d time.Duration) error {
	after := fmt.Sprintf("%s, after %d requests: ", s.dialect, a.had)
	r := measure(after+"reserve and capture", goalCallers, 1<<30, d, ids(row, a.request))
	a.settle(&r)
	a.requests.add(r)
	a.lists.add(measure(after+"history and balance", 1, 1<<30, d/4, a.list))
	if err := a.stop(); err != nil {
		return err
	}
	a.start.add(measure(after+"open the books and check the chain's tail", 1, 1, time.Hour, func(int, int) error {
		again, err := s.open(a.place)
		if err != nil {
			return err
		}
		a.books = again
		_, err = a.VerifyTail(context.Background())
		return err
	}))
	err := errors.Join(a.requests.err, a.lists.err, a.start.err)
	if a.start.err == nil {
		a.seal()
	}
	return err
}

// list reads what a person is shown of an account.
func (a *aged) list(_, n int) error {
	ctx, r := context.Background(), question(n%goalCallers, "")
	_, err := a.Balance(ctx, r.Payer)
	rs, rerr := a.Requests(ctx, r.From, listed)
	ps, perr := a.Postings(ctx, r.Payer, listed)
	if err = errors.Join(err, rerr, perr); err == nil && (len(rs) != listed || len(ps) != listed) {
		err = fmt.Errorf("%d requests and %d postings are listed, want %d", len(rs), len(ps), listed)
	}
	return err
}
