// Reads job files as Nomad does, with HCL's own library and the struct tags and defaults of Nomad's api package, and
// compares what comes of it with what `herder job inspect` prints. README.md says what it is good for.
package main

import (
	"bytes"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/customdecode"
	"github.com/hashicorp/hcl/v2/ext/dynblock"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"
	"github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

var _ = customdecode.ExpressionType

func funcs(dir string) map[string]function.Function {
	file := func(get func(string) (cty.Value, error), t cty.Type) function.Function {
		return function.New(&function.Spec{
			Params: []function.Parameter{{Name: "p", Type: cty.String}},
			Type:   function.StaticReturnType(t),
			Impl: func(a []cty.Value, _ cty.Type) (cty.Value, error) {
				p := a[0].AsString()
				if !filepath.IsAbs(p) {
					p = filepath.Join(dir, p)
				}
				return get(p)
			},
		})
	}
	return map[string]function.Function{
		"abs": stdlib.AbsoluteFunc, "ceil": stdlib.CeilFunc, "chomp": stdlib.ChompFunc, "chunklist": stdlib.ChunklistFunc,
		"coalesce": stdlib.CoalesceFunc, "coalescelist": stdlib.CoalesceListFunc, "compact": stdlib.CompactFunc, "concat": stdlib.ConcatFunc,
		"contains": stdlib.ContainsFunc, "distinct": stdlib.DistinctFunc, "element": stdlib.ElementFunc, "flatten": stdlib.FlattenFunc,
		"floor": stdlib.FloorFunc, "format": stdlib.FormatFunc, "formatdate": stdlib.FormatDateFunc, "formatlist": stdlib.FormatListFunc,
		"indent": stdlib.IndentFunc, "join": stdlib.JoinFunc, "jsondecode": stdlib.JSONDecodeFunc, "jsonencode": stdlib.JSONEncodeFunc,
		"keys": stdlib.KeysFunc, "length": stdlib.LengthFunc, "log": stdlib.LogFunc, "lookup": stdlib.LookupFunc, "lower": stdlib.LowerFunc,
		"max": stdlib.MaxFunc, "merge": stdlib.MergeFunc, "min": stdlib.MinFunc, "parseint": stdlib.ParseIntFunc, "pow": stdlib.PowFunc,
		"range": stdlib.RangeFunc, "reverse": stdlib.ReverseFunc, "replace": stdlib.ReplaceFunc, "regex_replace": stdlib.RegexReplaceFunc,
		"setintersection": stdlib.SetIntersectionFunc, "setproduct": stdlib.SetProductFunc, "setunion": stdlib.SetUnionFunc,
		"signum": stdlib.SignumFunc, "slice": stdlib.SliceFunc, "sort": stdlib.SortFunc, "split": stdlib.SplitFunc,
		"strlen": stdlib.StrlenFunc, "strrev": stdlib.ReverseFunc, "substr": stdlib.SubstrFunc, "timeadd": stdlib.TimeAddFunc,
		"title": stdlib.TitleFunc, "trim": stdlib.TrimFunc, "trimprefix": stdlib.TrimPrefixFunc, "trimspace": stdlib.TrimSpaceFunc,
		"trimsuffix": stdlib.TrimSuffixFunc, "upper": stdlib.UpperFunc, "values": stdlib.ValuesFunc, "zipmap": stdlib.ZipmapFunc,
		"file": file(func(p string) (cty.Value, error) {
			b, err := os.ReadFile(p)
			return cty.StringVal(string(b)), err
		}, cty.String),
		"fileexists": file(func(p string) (cty.Value, error) {
			_, err := os.Stat(p)
			return cty.BoolVal(err == nil), nil
		}, cty.Bool),
		"basename": function.New(&function.Spec{Params: []function.Parameter{{Name: "p", Type: cty.String}}, Type: function.StaticReturnType(cty.String),
			Impl: func(a []cty.Value, _ cty.Type) (cty.Value, error) {
				return cty.StringVal(filepath.Base(a[0].AsString())), nil
			}}),
	}
}

type reader struct {
	ctx   *hcl.EvalContext
	diags hcl.Diagnostics
}

func known(ctx *hcl.EvalContext, root string) bool {
	for c := ctx; c != nil; c = c.Parent() {
		if _, ok := c.Variables[root]; ok {
			return true
		}
	}
	return false
}

// Unknown roots stay as text: a child context holds for each of them a value that gives the text back.
func (r *reader) value(e hcl.Expression) cty.Value { return r.valueIn(e, r.ctx) }

func (r *reader) valueIn(e hcl.Expression, ctx *hcl.EvalContext) cty.Value {
	roots := map[string]map[string]any{}
	plain := map[string]bool{}
	for _, t := range e.Variables() {
		root := t.RootName()
		if known(ctx, root) {
			continue
		}
		if len(t) == 1 {
			plain[root] = true
			continue
		}
		text := root
		at := roots[root]
		if at == nil {
			at = map[string]any{}
			roots[root] = at
		}
		for i, step := range t[1:] {
			var key string
			switch s := step.(type) {
			case hcl.TraverseAttr:
				key = s.Name
				text += "." + s.Name
			case hcl.TraverseIndex:
				if s.Key.Type() == cty.String {
					key = s.Key.AsString()
					text += fmt.Sprintf("[%q]", key)
				} else {
					key = s.Key.AsBigFloat().Text('f', 0)
					text += "[" + key + "]"
				}
			}
			if i == len(t)-2 {
				if _, ok := at[key]; !ok {
					at[key] = "${" + text + "}"
				}
			} else {
				next, ok := at[key].(map[string]any)
				if !ok {
					next = map[string]any{}
					at[key] = next
				}
				at = next
			}
		}
	}
	child := ctx.NewChild()
	child.Variables = map[string]cty.Value{}
	for n := range plain {
		child.Variables[n] = cty.StringVal("${" + n + "}")
	}
	for n, m := range roots {
		child.Variables[n] = object(m)
	}
	v, d := e.Value(child)
	r.diags = append(r.diags, d...)
	return v
}

func object(m map[string]any) cty.Value {
	out := map[string]cty.Value{}
	for k, v := range m {
		switch v := v.(type) {
		case string:
			out[k] = cty.StringVal(v)
		case map[string]any:
			out[k] = object(v)
		}
	}
	return cty.ObjectVal(out)
}

func tag(f reflect.StructField) (string, string) {
	parts := strings.Split(f.Tag.Get("hcl"), ",")
	kind := ""
	if len(parts) > 1 {
		kind = parts[1]
	}
	return parts[0], kind
}

var durationT = reflect.TypeOf(time.Duration(0))

func (r *reader) fail(rng hcl.Range, format string, a ...any) {
	r.diags = append(r.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: fmt.Sprintf(format, a...), Subject: &rng})
}

func (r *reader) set(f reflect.Value, v cty.Value, rng hcl.Range) {
	if v.IsNull() || !v.IsKnown() || v == cty.DynamicVal {
		return
	}
	t := f.Type()
	if t.Kind() == reflect.Ptr {
		p := reflect.New(t.Elem())
		r.set(p.Elem(), v, rng)
		f.Set(p)
		return
	}
	if t == durationT {
		if v.Type() == cty.String {
			d, err := time.ParseDuration(v.AsString())
			if err != nil {
				r.fail(rng, "duration: %s", err)
				return
			}
			f.SetInt(int64(d))
			return
		}
		n, err := convert.Convert(v, cty.Number)
		if err != nil {
			r.fail(rng, "duration: %s", err)
			return
		}
		i, _ := n.AsBigFloat().Int64()
		f.SetInt(i)
		return
	}
	to := func(ty cty.Type) (cty.Value, bool) {
		c, err := convert.Convert(v, ty)
		if err != nil {
			r.fail(rng, "type: %s", err)
			return cty.NilVal, false
		}
		return c, !c.IsNull()
	}
	switch t.Kind() {
	case reflect.String:
		if c, ok := to(cty.String); ok {
			f.SetString(c.AsString())
		}
	case reflect.Bool:
		if c, ok := to(cty.Bool); ok {
			f.SetBool(c.True())
		}
	case reflect.Int, reflect.Int8, reflect.Int64, reflect.Int32, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if c, ok := to(cty.Number); ok {
			b := c.AsBigFloat()
			if !b.IsInt() {
				r.fail(rng, "number: must be whole")
				return
			}
			i, _ := b.Int64()
			if t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64 {
				f.SetUint(uint64(i))
			} else {
				f.SetInt(i)
			}
		}
	case reflect.Slice:
		et := cty.String
		if t.Elem().Kind() != reflect.String {
			et = cty.Number
		}
		if c, ok := to(cty.List(et)); ok {
			out := reflect.MakeSlice(t, 0, c.LengthInt())
			for it := c.ElementIterator(); it.Next(); {
				_, ev := it.Element()
				e := reflect.New(t.Elem()).Elem()
				r.set(e, ev, rng)
				out = reflect.Append(out, e)
			}
			f.Set(out)
		}
	case reflect.Map:
		if c, ok := to(cty.Map(cty.String)); ok {
			out := reflect.MakeMap(t)
			for it := c.ElementIterator(); it.Next(); {
				k, ev := it.Element()
				if ev.IsNull() {
					continue
				}
				out.SetMapIndex(reflect.ValueOf(k.AsString()), reflect.ValueOf(ev.AsString()))
			}
			f.Set(out)
		}
	default:
		r.fail(rng, "cannot set %s", t)
	}
}

var anyMap = reflect.TypeOf(map[string]any{})

// Settings of drivers: blocks are attributes, and a map that is written out is a list of one.
func (r *reader) anyMap(body hcl.Body) map[string]any {
	out := map[string]any{}
	native, ok := body.(*hclsyntax.Body)
	if !ok {
		attrs, d := body.JustAttributes()
		r.diags = append(r.diags, d...)
		for n, a := range attrs {
			out[n] = plainValue(r.value(a.Expr))
		}
		return out
	}
	for n, a := range native.Attributes {
		v := plainValue(r.value(a.Expr))
		if _, lit := a.Expr.(*hclsyntax.ObjectConsExpr); lit {
			v = []any{v}
		}
		out[n] = v
	}
	for _, b := range native.Blocks {
		var v any = r.anyMap(b.Body)
		for i := len(b.Labels) - 1; i >= 0; i-- {
			v = map[string]any{b.Labels[i]: []any{v}}
		}
		if have, ok := out[b.Type].([]any); ok {
			out[b.Type] = append(have, v)
		} else {
			out[b.Type] = []any{v}
		}
	}
	return out
}

func plainValue(v cty.Value) any {
	if v.IsNull() || !v.IsWhollyKnown() {
		return nil
	}
	t := v.Type()
	switch {
	case t == cty.String:
		return v.AsString()
	case t == cty.Bool:
		return v.True()
	case t == cty.Number:
		b := v.AsBigFloat()
		if i, acc := b.Int64(); acc == big.Exact {
			return i
		}
		f, _ := b.Float64()
		return f
	case t.IsListType(), t.IsSetType(), t.IsTupleType():
		out := []any{}
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			out = append(out, plainValue(e))
		}
		return out
	default:
		out := map[string]any{}
		for it := v.ElementIterator(); it.Next(); {
			k, e := it.Element()
			out[k.AsString()] = plainValue(e)
		}
		return out
	}
}

func (r *reader) texts(f reflect.Value, body hcl.Body) {
	attrs, d := body.JustAttributes()
	r.diags = append(r.diags, d...)
	out := reflect.MakeMap(f.Type())
	for n, a := range attrs {
		e := reflect.New(f.Type().Elem()).Elem()
		r.set(e, r.value(a.Expr), a.Expr.Range())
		out.SetMapIndex(reflect.ValueOf(n), e)
	}
	f.Set(out)
}

type extra struct {
	Vault   *api.Vault
	Secrets []*api.Secret
	Tasks   []*api.Task
}

func (r *reader) body(body hcl.Body, into reflect.Value, labels []string) extra {
	t := into.Type()
	var ex extra
	schema := &hcl.BodySchema{}
	maps := map[string]bool{}
	isConstraint := t == reflect.TypeOf(api.Constraint{})
	isAffinity := t == reflect.TypeOf(api.Affinity{})
	if isConstraint || isAffinity {
		for _, n := range []string{"regexp", "version", "semver", "set_contains", "set_contains_all", "set_contains_any"} {
			schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: n})
		}
	}
	if isConstraint {
		for _, n := range []string{"distinct_hosts", "distinct_property", "is_set", "is_not_set"} {
			schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: n})
		}
	}
	label := 0
	for i := 0; i < t.NumField(); i++ {
		f := t.Field(i)
		if f.Tag.Get("hcl") == "" {
			continue
		}
		name, kind := tag(f)
		switch kind {
		case "label":
			if label < len(labels) {
				r.set(into.Field(i), cty.StringVal(labels[label]), hcl.Range{})
				label++
			}
		case "block":
			h := hcl.BlockHeaderSchema{Type: name}
			et := f.Type
			for et.Kind() == reflect.Ptr || et.Kind() == reflect.Slice {
				et = et.Elem()
			}
			if et.Kind() == reflect.Map && et.Elem().Kind() == reflect.Ptr {
				et = et.Elem().Elem()
			}
			if et.Kind() == reflect.Struct {
				for j := 0; j < et.NumField(); j++ {
					if _, k := tag(et.Field(j)); k == "label" {
						h.LabelNames = append(h.LabelNames, "name")
					}
				}
			}
			if t == reflect.TypeOf(api.Task{}) && name == "scaling" {
				h.LabelNames = []string{"name"}
			}
			schema.Blocks = append(schema.Blocks, h)
			if f.Type.Kind() == reflect.Map && (name == "meta" || name == "env") {
				// As an attribute too.
				maps[name] = true
			}
		default:
			schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: name, Required: kind == ""})
		}
	}
	isJob, isGroup := t == reflect.TypeOf(api.Job{}), t == reflect.TypeOf(api.TaskGroup{})
	if isJob {
		schema.Blocks = append(schema.Blocks, hcl.BlockHeaderSchema{Type: "task", LabelNames: []string{"name"}})
	}
	if isJob || isGroup {
		schema.Blocks = append(schema.Blocks, hcl.BlockHeaderSchema{Type: "vault"}, hcl.BlockHeaderSchema{Type: "secret", LabelNames: []string{"name"}})
	}
	if t == reflect.TypeOf(api.Resources{}) {
		_ = t
	}
	attrMaps := map[string]*hcl.Attribute{}
	for n := range maps {
		c, remain, d := body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: n}}})
		if !d.HasErrors() && c.Attributes[n] != nil {
			attrMaps[n] = c.Attributes[n]
			body = remain
		}
	}
	content, d := body.Content(schema)
	r.diags = append(r.diags, d...)
	if content == nil {
		return ex
	}
	for i := 0; i < t.NumField(); i++ {
		f := t.Field(i)
		name, kind := tag(f)
		if f.Tag.Get("hcl") == "" || kind == "label" {
			continue
		}
		if kind != "block" {
			if a := content.Attributes[name]; a != nil {
				r.set(into.Field(i), r.value(a.Expr), a.Expr.Range())
			}
			continue
		}
		if a := attrMaps[name]; a != nil {
			r.set(into.Field(i), r.value(a.Expr), a.Expr.Range())
			continue
		}
		target := into.Field(i)
		n := 0
		for _, b := range content.Blocks {
			if b.Type != name {
				continue
			}
			n++
			switch {
			case f.Type == anyMap:
				target.Set(reflect.ValueOf(r.anyMap(unwrap(b.Body))))
			case f.Type.Kind() == reflect.Map && f.Type.Elem().Kind() != reflect.Ptr:
				r.texts(target, b.Body)
			default:
				et := f.Type
				for et.Kind() == reflect.Ptr || et.Kind() == reflect.Slice || et.Kind() == reflect.Map {
					et = et.Elem()
				}
				v := reflect.New(et)
				ex2 := r.body(b.Body, v.Elem(), b.Labels)
				after(v.Interface(), ex2)
				if t == reflect.TypeOf(api.Task{}) && name == "scaling" {
					p := v.Interface().(*api.ScalingPolicy)
					if p.Type == "" {
						p.Type = map[string]string{"cpu": "vertical_cpu", "mem": "vertical_mem"}[strings.ToLower(b.Labels[0])]
					}
				}
				switch f.Type.Kind() {
				case reflect.Slice:
					if f.Type.Elem().Kind() == reflect.Ptr {
						target.Set(reflect.Append(target, v))
					} else {
						target.Set(reflect.Append(target, v.Elem()))
					}
				case reflect.Map:
					if target.IsNil() {
						target.Set(reflect.MakeMap(f.Type))
					}
					target.SetMapIndex(reflect.ValueOf(b.Labels[0]), v)
				default:
					if n > 1 {
						r.fail(b.DefRange, "duplicate %s block", name)
					}
					target.Set(v)
				}
			}
		}
	}
	if isJob || isGroup {
		for _, b := range content.Blocks {
			switch {
			case b.Type == "vault":
				v := &api.Vault{}
				r.body(b.Body, reflect.ValueOf(v).Elem(), nil)
				ex.Vault = v
			case b.Type == "secret":
				v := &api.Secret{}
				r.body(b.Body, reflect.ValueOf(v).Elem(), b.Labels)
				ex.Secrets = append(ex.Secrets, v)
			case b.Type == "task" && isJob:
				v := &api.Task{}
				r.body(b.Body, reflect.ValueOf(v).Elem(), b.Labels)
				ex.Tasks = append(ex.Tasks, v)
			}
		}
	}
	sugar := func(n string) string {
		if a := content.Attributes[n]; a != nil {
			v, err := convert.Convert(r.value(a.Expr), cty.String)
			if err == nil && !v.IsNull() {
				return v.AsString()
			}
		}
		return ""
	}
	if isConstraint {
		c := into.Addr().Interface().(*api.Constraint)
		for _, n := range []string{"version", "semver", "regexp", "set_contains"} {
			if s := sugar(n); s != "" {
				c.Operand, c.RTarget = n, s
			}
		}
		if sugar("distinct_hosts") == "true" {
			c.Operand = "distinct_hosts"
		}
		if s := sugar("distinct_property"); s != "" {
			c.Operand, c.LTarget = "distinct_property", s
		}
		if c.Operand == "" {
			c.Operand = "="
		}
	}
	if isAffinity {
		c := into.Addr().Interface().(*api.Affinity)
		for _, n := range []string{"version", "semver", "regexp", "set_contains_any", "set_contains_all", "set_contains"} {
			if s := sugar(n); s != "" {
				c.Operand, c.RTarget = n, s
			}
		}
		if c.Operand == "" {
			c.Operand = "="
		}
	}
	return ex
}

// The driver's settings are read from the body itself.
func unwrap(b hcl.Body) hcl.Body { return b }

func after(v any, ex extra) {
	if g, ok := v.(*api.TaskGroup); ok {
		for _, t := range g.Tasks {
			if t.Vault == nil {
				t.Vault = ex.Vault
			}
			t.Secrets = append(t.Secrets, ex.Secrets...)
		}
		if g.Scaling != nil && g.Scaling.Type == "" {
			g.Scaling.Type = "horizontal"
		}
	}
}

func normalize(j *api.Job, id string, ex extra) {
	if j.Name == nil {
		j.Name = &id
	}
	if j.ID == nil {
		j.ID = &id
	}
	var alone []*api.TaskGroup
	for _, t := range ex.Tasks {
		name := t.Name
		alone = append(alone, &api.TaskGroup{Name: &name, Tasks: []*api.Task{t}})
	}
	j.TaskGroups = append(alone, j.TaskGroups...)
	cron := "cron"
	if j.Periodic != nil {
		j.Periodic.SpecType = &cron
	}
	ports := func(ns []*api.NetworkResource) {
		for _, n := range ns {
			var dyn, res []api.Port
			for _, p := range n.DynamicPorts {
				if p.Value > 0 {
					res = append(res, p)
				} else {
					dyn = append(dyn, p)
				}
			}
			n.DynamicPorts, n.ReservedPorts = dyn, append(n.ReservedPorts, res...)
		}
	}
	for _, g := range j.TaskGroups {
		ports(g.Networks)
		for _, t := range g.Tasks {
			if t.Resources != nil {
				ports(t.Resources.Networks)
			}
			if t.Vault == nil {
				t.Vault = ex.Vault
			}
			t.Secrets = append(t.Secrets, ex.Secrets...)
			for i, w := range t.Identities {
				if w.Name == "" || w.Name == "default" {
					t.Identity = w
					t.Identities = append(t.Identities[:i:i], t.Identities[i+1:]...)
					break
				}
			}
			for _, tm := range t.Templates {
				if tm.ChangeScript != nil && tm.ChangeScript.Args == nil {
					tm.ChangeScript.Args = []string{}
				}
			}
		}
	}
}

func read(path string, text []byte) (*api.Job, []string, hcl.Diagnostics) {
	var undefined []string
	var body hcl.Body
	var diags hcl.Diagnostics
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '{' {
		f, d := hcljson.Parse(text, path)
		diags = d
		if f != nil {
			body = f.Body
		}
	} else {
		f, d := hclsyntax.ParseConfig(text, path, hcl.InitialPos)
		diags = d
		if f != nil {
			body = f.Body
		}
	}
	if diags.HasErrors() {
		return nil, nil, diags
	}
	r := &reader{}
	root := &hcl.EvalContext{Functions: funcs(filepath.Dir(path)), Variables: map[string]cty.Value{}}
	root.Functions["convert"] = typeexpr.ConvertFunc
	r.ctx = root
	content, d := body.Content(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "variables"}, {Type: "variable", LabelNames: []string{"name"}}, {Type: "locals"}, {Type: "job", LabelNames: []string{"name"}}}})
	r.diags = append(r.diags, d...)
	vars := map[string]cty.Value{}
	for _, b := range content.Blocks {
		switch b.Type {
		case "variables":
			attrs, _ := b.Body.JustAttributes()
			for n, a := range attrs {
				vars[n] = r.value(a.Expr)
			}
		case "variable":
			attrs, _, _ := b.Body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "default"}, {Name: "type"}}})
			v := cty.StringVal("1")
			if a := attrs.Attributes["default"]; a != nil {
				v = r.value(a.Expr)
			} else {
				undefined = append(undefined, b.Labels[0])
			}
			if a := attrs.Attributes["type"]; a != nil {
				ty, d := typeexpr.TypeConstraint(a.Expr)
				r.diags = append(r.diags, d...)
				c, err := convert.Convert(v, ty)
				if err != nil {
					r.fail(a.Range, "variable: %s", err)
				} else {
					v = c
				}
			}
			vars[b.Labels[0]] = v
		}
	}
	root.Variables["var"] = cty.ObjectVal(vars)
	locals := map[string]cty.Value{}
	pending := map[string]hcl.Expression{}
	for _, b := range content.Blocks {
		if b.Type == "locals" {
			attrs, _ := b.Body.JustAttributes()
			for n, a := range attrs {
				pending[n] = a.Expr
			}
		}
	}
	for round := 0; round < 100 && len(pending) > 0; round++ {
		root.Variables["local"] = cty.ObjectVal(locals)
		names := []string{}
		for n := range pending {
			names = append(names, n)
		}
		sort.Strings(names)
		for _, n := range names {
			probe := &reader{ctx: root}
			v := probe.value(pending[n])
			if !probe.diags.HasErrors() {
				locals[n] = v
				delete(pending, n)
			} else if round == 99 {
				r.diags = append(r.diags, probe.diags...)
			}
		}
	}
	root.Variables["local"] = cty.ObjectVal(locals)
	var job *api.Job
	for _, b := range content.Blocks {
		if b.Type != "job" {
			continue
		}
		job = &api.Job{}
		body := b.Body
		if bytes.Contains(text, []byte("dynamic")) {
			body = dynblock.Expand(body, root)
		}
		ex := r.body(body, reflect.ValueOf(job).Elem(), nil)
		normalize(job, b.Labels[0], ex)
		job.Canonicalize()
	}
	return job, undefined, r.diags
}
