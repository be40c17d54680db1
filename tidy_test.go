package timmy_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// module is where everything of ours is imported from.
const module = "github.com/timmy-tower/timmy"

// What fits on a screen, and what a reader keeps in mind.
const (
	maxFileLines     = 400
	maxTestFileLines = 600
	maxFuncLines     = 70
)

// rule is what a package may import beyond the standard library, test files
// left out. An external entry allows its subpackages too.
type rule struct {
	ours   []string // packages of ours; "." is the vocabulary
	others []string
	never  []string // of the standard library, or of what others would allow
}

// table is the architecture. A new import is a change here, argued for in the
// commit. Packages that are not named may import anything and are imported by
// nobody: cmd/timmy, e2e, bench.
var table = map[string]rule{
	".": {},
	// The moments at which tests kill the tower are named once for all packages. It
	// is empty in the normal build, knows nobody, and so may be known by all whose
	// steps must survive a crash, db too.
	"failpoint": {},
	"nip": {
		ours: []string{"."},
		// btcec is the curve of the build without C, and its scalars.
		others: []string{"github.com/nbd-wtf/go-nostr", "golang.org/x/crypto/chacha20", "github.com/btcsuite/btcd/btcec/v2"},
		never:  []string{"database/sql", "net/http"},
	},
	"ledger": {
		ours:   []string{".", "db", "failpoint"},
		others: []string{"github.com/jmoiron/sqlx"},
		never:  []string{"net/http"},
	},
	"db": {
		ours: []string{"failpoint"},
		others: []string{
			"github.com/jmoiron/sqlx", "github.com/mattn/go-sqlite3", "github.com/jackc/pgx/v5", "github.com/pressly/goose/v3",
		},
		never: []string{"net/http"},
	},
	// a server for tests and benches
	"db/pgtest": {others: []string{"github.com/jackc/pgx/v5"}, never: []string{"net/http"}},
	// a database for tests
	"db/dbtest": {ours: []string{"db"}, never: []string{"net/http"}},
	// a disk for tests that loses power
	"db/disktest": {never: []string{"net/http"}},
	"agent": {
		ours: []string{"."},
		others: []string{
			"github.com/sashabaranov/go-openai", "github.com/cenkalti/backoff/v5", "github.com/sony/gobreaker/v2",
		},
		never: []string{"database/sql"},
	},
	"wallet": {
		ours: []string{".", "nip"},
		others: []string{
			// zpay32 speaks in the types of these.
			"github.com/lightningnetwork/lnd/zpay32", "github.com/lightningnetwork/lnd/lnwire",
			"github.com/btcsuite/btcd/btcec/v2", "github.com/btcsuite/btcd/btcutil", "github.com/btcsuite/btcd/chaincfg",
			"github.com/coder/websocket", "github.com/cenkalti/backoff/v5", "github.com/sony/gobreaker/v2",
			// NIP-47: what the relay client is handed and hands back.
			"github.com/nbd-wtf/go-nostr",
		},
		never: []string{"database/sql"},
	},
	"tower": {
		ours:  []string{".", "failpoint"},
		never: []string{"database/sql", "net/http"},
	},
	"relay": {
		ours: []string{".", "nip", "db", "failpoint"},
		others: []string{
			"github.com/fiatjaf/khatru", "github.com/fiatjaf/eventstore", "github.com/nbd-wtf/go-nostr",
			"github.com/jmoiron/sqlx", "github.com/coder/websocket", "github.com/hashicorp/golang-lru/v2",
			"github.com/cenkalti/backoff/v5", "golang.org/x/time/rate",
		},
	},
	"lnurl": {
		ours:  []string{".", "nip"},
		never: []string{"database/sql"},
	},
	"rest": {
		ours: []string{"."},
		others: []string{
			"gopkg.in/macaroon.v2", "github.com/prometheus/client_golang", "rsc.io/qr",
			"golang.org/x/time/rate", "github.com/hashicorp/golang-lru/v2",
		},
		never: []string{"database/sql"},
	},
}

// free are the packages outside the table.
var free = []string{"cmd/timmy", "e2e", "e2e/simnet", "e2e/simnet/run", "bench", "bench/load"}

// mayNotRun are the tests that may skip themselves, with what they need. A test
// that skips is a promise nobody keeps, so the list is short.
var mayNotRun = map[string]string{}

// source is one parsed Go file.
type source struct {
	path, dir string // slash-separated, from the root
	test      bool
	lines     int
	file      *ast.File
}

// tree parses every Go file of the module; nested modules are on their own.
func tree(t *testing.T) (*token.FileSet, []source) {
	t.Helper()
	fset := token.NewFileSet()
	var list []source
	for _, p := range files(t) {
		if !strings.HasSuffix(p, ".go") {
			continue
		}
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(fset, p, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, source{
			path: p, dir: path.Dir(p), test: strings.HasSuffix(p, "_test.go"),
			lines: strings.Count(string(text), "\n"), file: f,
		})
	}
	return fset, list
}

// files lists what is in the checkout, without what tools made.
func files(t *testing.T) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"node_modules", "venv", "bin", "dist", "timmy-data"}, d.Name()) || nested(p)) {
				return filepath.SkipDir
			}
			return nil
		}
		list = append(list, filepath.ToSlash(p))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func nested(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// The architecture erodes one convenient import at a time.
func TestImportsStayWithinTheTable(t *testing.T) {
	_, list := tree(t)
	for _, s := range list {
		r, known := table[s.dir]
		if !known && !slices.Contains(free, s.dir) {
			t.Errorf("%s: package %s is not in the table", s.path, s.dir)
		}
		if s.test || !known {
			continue
		}
		for _, spec := range s.file.Imports {
			name := strings.Trim(spec.Path.Value, `"`)
			if why := r.refuses(name); why != "" {
				t.Errorf("%s imports %s: %s", s.path, name, why)
			}
		}
	}
}

// refuses says why a package may not import name; empty if it may.
func (r rule) refuses(name string) string {
	within := func(p string) bool { return name == p || strings.HasPrefix(name, p+"/") }
	if slices.ContainsFunc(r.never, within) {
		return "never"
	}
	if within(module) {
		dir := "." + strings.TrimPrefix(name, module)
		if slices.Contains(r.ours, strings.TrimPrefix(dir, "./")) {
			return ""
		}
		return "not among ours that it may know"
	}
	first, _, _ := strings.Cut(name, "/")
	if !strings.Contains(first, ".") || slices.ContainsFunc(r.others, within) {
		return ""
	}
	return "not in the table"
}

// Code that does not fit on a screen is not read.
func TestFilesAndFunctionsFitAScreen(t *testing.T) {
	fset, list := tree(t)
	for _, s := range list {
		limit := maxFileLines
		if s.test {
			limit = maxTestFileLines
		}
		if s.lines > limit {
			t.Errorf("%s has %d lines, more than %d", s.path, s.lines, limit)
		}
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if f, ok := n.(*ast.FuncDecl); ok {
				from, to := fset.Position(f.Pos()), fset.Position(f.End())
				if lines := to.Line - from.Line + 1; lines > maxFuncLines {
					t.Errorf("%s: %s has %d lines, more than %d", from, f.Name.Name, lines, maxFuncLines)
				}
			}
			return true
		})
	}
}

// A package nobody explained is a package everybody guesses about.
func TestEveryPackageExplainsItself(t *testing.T) {
	_, list := tree(t)
	explained := map[string]bool{}
	for _, s := range list {
		if _, seen := explained[s.dir]; !seen {
			explained[s.dir] = false
		}
		if path.Base(s.path) == "doc.go" && s.file.Doc != nil {
			explained[s.dir] = true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(explained)) {
		if !explained[dir] {
			t.Errorf("%s has no doc.go with a package comment", dir)
		}
	}
}

// Names without words get their meaning from whoever uses them first.
func TestEveryExportedNameIsDocumented(t *testing.T) {
	fset, list := tree(t)
	for _, s := range list {
		if s.test {
			continue
		}
		for _, d := range s.file.Decls {
			for _, name := range undocumented(d) {
				t.Errorf("%s: %s is not documented", fset.Position(name.Pos()), name.Name)
			}
		}
	}
}

func undocumented(d ast.Decl) []*ast.Ident {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		var list []*ast.Ident
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil {
					list = append(list, spec.Name)
				}
			case *ast.ValueSpec:
				if d.Doc != nil || spec.Doc != nil || spec.Comment != nil {
					continue
				}
				for _, name := range spec.Names {
					if name.IsExported() {
						list = append(list, name)
					}
				}
			}
		}
		return list
	}
	return nil
}

// exportedReceiver is true for functions, and for methods that callers of the
// package can see.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

// State of a package is shared by all tests and all towers of a process.
func TestNoPackageState(t *testing.T) {
	fset, list := tree(t)
	for _, s := range list {
		if s.test {
			continue
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: no init", fset.Position(f.Pos()))
			}
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				if v := spec.(*ast.ValueSpec); !constant(g, v) {
					t.Errorf("%s: package variable %s", fset.Position(v.Pos()), v.Names[0].Name)
				}
			}
		}
	}
}

// constant reports whether a package variable never changes: an assertion, a
// sentinel, an embedded file, or a compiled table of our own.
func constant(g *ast.GenDecl, v *ast.ValueSpec) bool {
	if v.Names[0].Name == "_" || embedded(g.Doc) || embedded(v.Doc) {
		return true
	}
	if len(v.Values) != len(v.Names) {
		return false
	}
	for i, e := range v.Values {
		name := v.Names[i]
		if sentinel := strings.HasPrefix(strings.ToLower(name.Name), "err"); sentinel {
			continue
		}
		if u, ok := e.(*ast.UnaryExpr); ok && u.Op == token.AND {
			e = u.X
		}
		switch e := e.(type) {
		case *ast.CompositeLit:
			if name.IsExported() {
				return false
			}
		case *ast.CallExpr:
			_, bytes := e.Fun.(*ast.ArrayType) // []byte("…")
			if (!bytes && !slices.Contains(compilers, called(e.Fun))) || name.IsExported() {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// compilers make tables that nobody changes afterwards.
// sync.OnceValues is among them for libsecp256k1's context, which is computed once
// for the process.
var compilers = []string{
	"regexp.MustCompile", "template.Must", "strings.NewReplacer", "big.NewInt", "netip.MustParsePrefix", "sync.OnceValues",
}

func called(e ast.Expr) string {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	x, ok := s.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return x.Name + "." + s.Sel.Name
}

func embedded(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed") })
}

// A skipped test is green and proves nothing.
func TestNoTestIsSkipped(t *testing.T) {
	fset, list := tree(t)
	for _, s := range list {
		if !s.test || mayNotRun[s.path] != "" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) && isTesting(sel.X) {
				t.Errorf("%s: a test is skipped", fset.Position(n.Pos()))
			}
			return true
		})
	}
}

// isTesting goes by the names that tests give to their T, B and F.
func isTesting(e ast.Expr) bool {
	x, ok := e.(*ast.Ident)
	return ok && slices.Contains([]string{"t", "b", "f", "tb", "rt"}, x.Name)
}

// What is not done is an issue, not a comment.
func TestNothingIsLeftForLater(t *testing.T) {
	words := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	fset, list := tree(t)
	for _, s := range list {
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				if w := words.FindString(c.Text); w != "" {
					t.Errorf("%s: %s", fset.Position(c.Pos()), w)
				}
			}
		}
	}
}

// A path of one machine works on one machine.
func TestNoPathsOfOneMachine(t *testing.T) {
	home := regexp.MustCompile(`(^|[\s"'(=:])/(ro` + `ot|home/[a-z]+|Us` + `ers/[A-Za-z]+)/`)
	kinds := []string{".go", ".md", ".mjs", ".txtar", ".yaml", ".toml", ".mod", ".json", "", ".sql", ".html"}
	for _, p := range files(t) {
		if !slices.Contains(kinds, path.Ext(p)) {
			continue
		}
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if home.MatchString(line) {
				t.Errorf("%s", fmt.Sprintf("%s:%d: a path of one machine", p, i+1))
			}
		}
	}
}
