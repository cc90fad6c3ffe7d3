export const ironOptions = { cookieName: "iron_session", password: process.env.IRON_PASSWORD, cookieOptions: { secure: false } };
