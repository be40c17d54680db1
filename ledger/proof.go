package ledger

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/timmy-tower/timmy"
)

const (
	// leastLeaves is what the tree is padded to at least, so that it does not tell
	// how few customers there are.
	leastLeaves = 16
	// maxDepth of a proof: more leaves than there can be people.
	maxDepth = 40
	// MaxProof bounds a proof's JSON: 40 siblings and the root's event take 8 KiB.
	MaxProof = 64 << 10
)

// Node is a node of the sum tree: a hash, and the balances below it.
type Node struct {
	Hash [32]byte
	Sum  timmy.Msat
}

// Sibling is a step of a proof, from the leaf up. Side is where the sibling
// stands: "left" or "right".
type Sibling struct {
	Hash string     `json:"hash"` // hex
	Sum  timmy.Msat `json:"sum"`
	Side string     `json:"side"`
}

// Proof shows an account's holder that its balance is in the root of a day. It
// names that account and no other: it is for the holder alone. Amounts are msat.
type Proof struct {
	Day      string          `json:"day"` // YYYY-MM-DD, UTC
	Account  timmy.Account   `json:"account"`
	Salt     string          `json:"salt"` // of this account on this day; hex
	Leaf     string          `json:"leaf"` // hex
	Balance  timmy.Msat      `json:"balance"`
	Siblings []Sibling       `json:"siblings"`
	Root     json.RawMessage `json:"root"` // the published event
}

// accountSalt is an account's own salt, so that a holder who is told it cannot try
// out names on the leaf next to its own.
func accountSalt(day [32]byte, name string) (s [32]byte) {
	h := hmac.New(sha256.New, day[:])
	h.Write([]byte(name))
	copy(s[:], h.Sum(nil))
	return s
}

func leafHash(salt [32]byte, name string) [32]byte {
	return sha256.Sum256(append(append([]byte{0}, salt[:]...), name...))
}

func parent(l, r Node) Node {
	b := append([]byte{1}, l.Hash[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(l.Sum))
	b = append(b, r.Hash[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Sum))
	return Node{Hash: sha256.Sum256(b), Sum: l.Sum + r.Sum}
}

// owed is what an account is owed.
type owed struct {
	Account timmy.Account
	Balance timmy.Msat
}

// tree is a sum tree; rows[0] are the leaves in the order of their hashes, the
// last row is the root.
type tree struct {
	salt  [32]byte
	rows  [][]Node
	whose map[timmy.Account]timmy.Msat
}

func newTree(salt [32]byte, list []owed) *tree {
	t := &tree{salt: salt, whose: make(map[timmy.Account]timmy.Msat, len(list))}
	size := leastLeaves
	for size < len(list) {
		size *= 2
	}
	leaves := make([]Node, 0, size)
	for _, o := range list {
		t.whose[o.Account] = o.Balance
		leaves = append(leaves, Node{leafHash(accountSalt(salt, string(o.Account)), string(o.Account)), o.Balance})
	}
	for i := len(list); i < size; i++ {
		leaves = append(leaves, Node{Hash: leafHash(accountSalt(salt, "pad:"+strconv.Itoa(i)), "pad")})
	}
	slices.SortFunc(leaves, func(a, b Node) int { return bytes.Compare(a.Hash[:], b.Hash[:]) })
	for row := leaves; ; {
		t.rows = append(t.rows, row)
		if len(row) == 1 {
			return t
		}
		up := make([]Node, len(row)/2)
		for i := range up {
			up[i] = parent(row[2*i], row[2*i+1])
		}
		row = up
	}
}

func (t *tree) root() Node { return t.rows[len(t.rows)-1][0] }

// prove makes the proof of an account, without day and event.
func (t *tree) prove(a timmy.Account) (Proof, bool) {
	balance, ok := t.whose[a]
	if !ok {
		return Proof{}, false
	}
	salt := accountSalt(t.salt, string(a))
	leaf := leafHash(salt, string(a))
	i, ok := slices.BinarySearchFunc(t.rows[0], leaf, func(n Node, h [32]byte) int { return bytes.Compare(n.Hash[:], h[:]) })
	if !ok {
		return Proof{}, false
	}
	p := Proof{Account: a, Salt: hex.EncodeToString(salt[:]), Leaf: hex.EncodeToString(leaf[:]), Balance: balance}
	for _, row := range t.rows[:len(t.rows)-1] {
		side := "right"
		if i%2 == 1 {
			side = "left"
		}
		n := row[i^1]
		p.Siblings = append(p.Siblings, Sibling{Hash: hex.EncodeToString(n.Hash[:]), Sum: n.Sum, Side: side})
		i /= 2
	}
	return p, true
}

// ParseProof reads a proof strictly: known names, one value, within the limits.
func ParseProof(raw []byte) (p Proof, err error) {
	if len(raw) > MaxProof {
		return p, fmt.Errorf("a proof has at most %d bytes", MaxProof)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return Proof{}, fmt.Errorf("not a proof: %w", err)
	}
	if d.More() {
		return Proof{}, errors.New("not a proof: something follows it")
	}
	return p, nil
}

// Top computes the root that the proof leads to. It refuses a leaf that is not the
// account's and sums that are no amounts. Whether that is the root that was
// published is the caller's to compare.
func (p Proof) Top() (n Node, err error) {
	salt, err := hash32(p.Salt)
	if err != nil {
		return n, fmt.Errorf("the salt: %w", err)
	}
	if p.Account == "" || p.Account.House() {
		return n, errors.New("the account is not a customer's")
	}
	n = Node{leafHash(salt, string(p.Account)), p.Balance}
	switch {
	case hex.EncodeToString(n.Hash[:]) != p.Leaf:
		return n, errors.New("the leaf is not that of the account")
	case p.Balance <= 0 || p.Balance > timmy.MaxMsat:
		return n, errors.New("the balance is no amount")
	case len(p.Siblings) > maxDepth:
		return n, fmt.Errorf("more than %d siblings", maxDepth)
	}
	for i, s := range p.Siblings {
		other := Node{Sum: s.Sum}
		if other.Hash, err = hash32(s.Hash); err != nil {
			return n, fmt.Errorf("sibling %d: %w", i, err)
		}
		if s.Sum < 0 || s.Sum > timmy.MaxMsat-n.Sum {
			return n, fmt.Errorf("sibling %d: the sum is no amount", i)
		}
		switch s.Side {
		case "left":
			n = parent(other, n)
		case "right":
			n = parent(n, other)
		default:
			return n, fmt.Errorf("sibling %d: side is neither left nor right", i)
		}
	}
	return n, nil
}

func hash32(s string) (h [32]byte, err error) {
	if len(s) != 64 {
		return h, errors.New("want 64 hex digits")
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return h, errors.New("want 64 hex digits")
	}
	return h, nil
}
