import CredentialsProvider from "next-auth/providers/credentials";

const users = [
  { id: "1", username: "alice", password: "wonderland", name: "Alice Liddell", email: "alice@example.com", image: "https://img.example.com/alice.png", roles: ["admin", "editor"] },
  { id: "2", username: "bob", password: "builder", name: "Bob", email: "bob@example.com", image: null, roles: ["viewer"] },
  { id: "3", username: "taro", password: "hanako", name: "山田 太郎 👩🏽‍🚀", email: "taro@example.com", image: null, roles: [] },
  // Takes more than one cookie.
  { id: "4", username: "big", password: "data", name: "Big Claims", email: "big@example.com", image: null, roles: Array.from({ length: 400 }, (_, i) => `role-${i}`) },
];

export const authOptions = {
  session: { strategy: "jwt" },
  providers: [
    CredentialsProvider({
      credentials: { username: { label: "Username" }, password: { label: "Password", type: "password" } },
      async authorize(credentials) {
        const found = users.find((user) => user.username === credentials?.username && user.password === credentials?.password);
        if (!found) return null;
        const { username, password, ...user } = found;
        return user;
      },
    }),
  ],
  callbacks: {
    async jwt({ token, user }) {
      if (user) token.roles = user.roles;
      return token;
    },
    async session({ session, token }) {
      session.user.id = token.sub;
      session.user.roles = token.roles;
      return session;
    },
  },
};
