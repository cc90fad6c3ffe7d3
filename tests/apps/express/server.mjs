// express-session with connect-redis. PORT, REDIS_URL, SESSION_SECRET (several with commas, the
// newest first), ROLLING=1, PASSPORT=1
import express from "express";
import session from "express-session";
import { RedisStore } from "connect-redis";
import { createClient } from "redis";
import passport from "passport";

const redis = createClient({ url: process.env.REDIS_URL });
redis.on("error", () => {}); // the server goes before the app when tests end
await redis.connect();

const app = express();
app.set("trust proxy", 1);
app.use(express.json());
app.use(express.urlencoded({ extended: false }));
app.use(session({
  store: new RedisStore({ client: redis }),
  secret: process.env.SESSION_SECRET.split(","),
  resave: false,
  saveUninitialized: false,
  rolling: Boolean(process.env.ROLLING),
  cookie: { maxAge: 86_400_000 },
}));

const users = {
  alice: { id: "1", name: "Alice Liddell", roles: ["admin", "editor"] },
  bob: { id: "2", name: "Bob", roles: ["viewer"] },
};

if (process.env.PASSPORT) {
  passport.serializeUser((user, done) => done(null, user));
  passport.deserializeUser((user, done) => done(null, user));
  app.use(passport.session());
}

app.get("/login", (req, res) => res.send("<form method=post><input name=username><input name=password type=password></form>"));

app.post("/login", (req, res, next) => {
  const user = users[req.body?.username];
  if (!user || req.body.password !== "secret") return res.status(401).json({ error: "bad credentials" });
  const done = (error) => (error ? next(error) : res.json({ ok: true }));
  if (process.env.PASSPORT) return req.login(user, done);
  req.session.regenerate((error) => {
    if (error) return next(error);
    req.session.user = { id: user.id, name: user.name };
    req.session.roles = user.roles;
    req.session.save(done);
  });
});

app.get("/me", (req, res) => {
  const user = req.user ?? req.session.user;
  if (!user) return res.status(401).json({ error: "not logged in" });
  req.session.views = (req.session.views ?? 0) + 1;
  res.json({ user, roles: req.user?.roles ?? req.session.roles, views: req.session.views });
});

// Reads only: the store's key is touched.
app.get("/peek", (req, res) => res.json({ session: req.session }));

app.post("/logout", (req, res, next) =>
  req.session.destroy((error) => (error ? next(error) : res.clearCookie("connect.sid").json({ ok: true }))));

// Trusts whoever stands in front of it.
app.get("/admin", (req, res) => res.json({ secret: "only for admins" }));

app.all("/echo", (req, res) => res.json({ method: req.method, url: req.originalUrl, headers: req.headers }));

app.listen(Number(process.env.PORT), "127.0.0.1");
